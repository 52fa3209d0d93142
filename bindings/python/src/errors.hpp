// Failures of the library as Python exceptions.
#pragma once

#include <pybind11/pybind11.h>

#include <cachee/result.hpp>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace cachee::python {

/// Carries an Error to the boundary, where it becomes the class of cachee.errors that is named
/// after its code.
class Failure : public std::exception {
 public:
  Failure(Error error, std::string segment, std::optional<std::string> key = std::nullopt)
      : error_{error}, segment_{std::move(segment)}, key_{std::move(key)} {}
  [[nodiscard]] const char* what() const noexcept override { return to_string(error_.code); }
  void set_key(std::string_view key) { key_ = key; }
  /// It is about a consumer group; `said`: what cacheed said, or nothing.
  void set_group(std::string group, std::string said) { group_ = {std::move(group), std::move(said)}; }
  /// Sets the Python error. The GIL is held.
  void raise() const;

 private:
  Error error_;
  std::string segment_;
  std::optional<std::string> key_;
  struct Group {
    std::string name, said;
  };
  std::optional<Group> group_{};
};

void bind_errors(pybind11::module_& module);

}  // namespace cachee::python
