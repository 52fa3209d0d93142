// Makes the manual page and the completions of cachee from its table of commands and their help.
// The same words produce the same bytes, so that a test can compare.
//
//   cachee_doc DIRECTORY     writes cachee.1, cachee.bash and _cachee there
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <cachee/segment_name.hpp>
#include <cachee/version.hpp>

#include "command_line.hpp"
#include "language.hpp"

namespace cachee::cli {
namespace {

struct OptionDoc {
  std::vector<std::string> names{};  // "-l", "--long"; empty: positional
  std::string argument{};            // "TEXT"; empty: a flag
  std::string word{};                // name of a positional
  std::string help{};
  bool required = false;
  bool many = false;
  bool common = false;
};

struct CommandDoc {
  Command command{};
  std::vector<OptionDoc> options{};
};

OptionDoc document(const CLI::Option& option) {
  OptionDoc doc;
  for (const auto& name : option.get_snames()) doc.names.push_back("-" + name);
  for (const auto& name : option.get_lnames()) doc.names.push_back("--" + name);
  doc.help = option.get_description();
  doc.required = option.get_required();
  doc.common = option.get_group() == "Common options" || option.check_lname("help");
  doc.many = option.get_allow_extra_args();
  if (option.get_positional()) doc.word = option.get_name(true);
  if (option.get_items_expected_max() > 0) doc.argument = "VALUE";
  return doc;
}

std::vector<CommandDoc> document_all() {
  std::vector<CommandDoc> docs;
  for (const auto& command : command_table()) {
    Common common;
    const auto made = make_app(command, common);
    CommandDoc doc{.command = command};
    for (const CLI::Option* option : made->app.get_options())
      doc.options.push_back(document(*option));
    docs.push_back(std::move(doc));
  }
  return docs;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// The manual page

std::string roff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if (c == '`') {
      out += "\\(ga";
    } else if (c == '\'') {
      out += "\\(aq";
    } else {
      out += c;
    }
  }
  if (out.starts_with('.')) out.insert(0, "\\&");
  return out;
}

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return text;
}

std::string synopsis(const CommandDoc& doc) {
  std::string line = fmt::format(".B cachee {}\n", roff(doc.command.words));
  for (const auto& option : doc.options) {
    if (option.word.empty()) continue;
    const std::string word =
        fmt::format("\\fI{}\\fR{}", roff(upper(option.word)), option.many ? "..." : "");
    line += option.required ? word + "\n" : fmt::format("[{}]\n", word);
  }
  return line;
}

void print_options(std::string& page, const CommandDoc& doc) {
  for (const auto& option : doc.options) {
    if (option.common) continue;
    page += ".TP\n";
    if (!option.word.empty()) {
      page += fmt::format("\\fI{}\\fR\n", roff(upper(option.word)));
    } else {
      std::string names;
      for (const auto& name : option.names) {
        if (!names.empty()) names += ", ";
        names += "\\fB" + roff(name) + "\\fR";
      }
      page += names + (option.argument.empty() ? "\n" : " \\fIVALUE\\fR\n");
    }
    page += roff(option.help) + "\n";
  }
}

constexpr const char* kPageHead =
    R"(.SH NAME
cachee \- read, write and look after a Cachee segment
.SH SYNOPSIS
.B cachee
[\fB\-n\fR \fINAME\fR] [\fB\-\-json\fR]
\fICOMMAND\fR ...
.br
.B cachee
[\fB\-n\fR \fINAME\fR] [\fB\-\-json\fR] [< \fIFILE\fR]
.SH DESCRIPTION
Without a command,
.B cachee
is a prompt when standard input is a terminal; else it reads commands from standard input.
Data goes to standard output, everything else to standard error.
.SH OPTIONS
These may stand before or after the command; before it when it is one of the control socket.
.TP
\fB\-n\fR, \fB\-\-name\fR \fINAME\fR
Segment (default: default). Its name has @NAME_RULE@.
.TP
\fB\-\-json\fR
Print JSON, with every field of the text. Bytes that are not UTF\-8 are {"base64": "..."}.
.TP
\fB\-\-runtime\-dir\fR \fIDIR\fR
Where the control socket is.
.TP
\fB\-\-state\-dir\fR \fIDIR\fR
Where logs are.
.TP
\fB\-h\fR, \fB\-\-help\fR
Print the help, or that of a command.
.TP
\fB\-\-version\fR
Print the version.
)";

constexpr const char* kPageTail =
    R"(.SH "COMMANDS OF THE CONTROL SOCKET"
.B cachee
\fIWORD\fR [\fIARGUMENT\fR]...
.PP
Every command of the control socket, Redis\(aq and Cachee\(aqs own, in any case:
.B cachee
sends its words to
.BR cacheed (8)
as they are, prints the answer as it prints that of a line of a command file (with \fB\-\-json\fR as
JSON), and exits with 1 when it is an error. What has the name of a command above is that
command in lower case, which works without a supervisor, and the one of the control socket in capital
letters:
.PP
.nf
.RS
cachee mget session:42 session:43
cachee GET session:42
cachee \-\-json TRIGGER DLQ LIST COUNT 10
.RE
.fi
.PP
@LANGUAGE@
.SH COMMANDS FROM STANDARD INPUT AND THE PROMPT
One command a line, in the language of the control socket: the commands of Redis, and Cachee's own.
"Double quotes" know \en \er \et \eb \ea \e\e \e" and \exHH,
\(aqsingle quotes\(aq take everything as it is.
A line that begins with # is a comment.
A last word <<WORD stands for the lines that follow, up to a line that is exactly WORD:
.PP
.nf
.RS
TRIGGER REGISTER session:* ON_EXPIRE <<LUA
cachee.log("sessions", {key = event.key})
LUA
.RE
.fi
.PP
An error goes to standard error with the number of the line where its command began; the commands
behind it are run all the same, and the exit status is 1.
.SH EXIT STATUS
.TP
.B 0
Yes, done.
.TP
.B 1
No: not found, refused, damage found.
.TP
.B 2
Wrong usage.
.TP
.B 3
The segment or the supervisor cannot be attached to.
.SH ENVIRONMENT
.TP
.B CACHEE_RUNTIME_DIR
Where control sockets are; else $XDG_RUNTIME_DIR/cachee, else /run/cachee.
.TP
.B CACHEE_STATE_DIR
Where state is; else /var/lib/cachee for root, else $XDG_STATE_HOME/cachee, else
~/.local/state/cachee.
.TP
.B NO_COLOR
No colours when it is set.
.SH FILES
.TP
.I /dev/shm/cachee.NAME
The segment.
.TP
.I ~/.cachee_history
What was typed at the prompt.
.SH SEE ALSO
.BR cacheed (8)
)";

/// A text with one word replaced.
std::string filled(std::string text, std::string_view word, const std::string& with) {
  return text.replace(text.find(word), word.size(), with);
}

std::string make_page(const std::vector<CommandDoc>& docs) {
  std::string page = fmt::format(
      ".\\\" Made by cachee_doc from the help of the commands.\n"
      ".TH CACHEE 1 \"\" \"Cachee {}\" \"User Commands\"\n",
      kVersion);
  page += filled(kPageHead, "@NAME_RULE@", roff(kSegmentNameRule));
  std::string group;
  for (const auto& doc : docs) {
    if (doc.command.group != group)
      page += fmt::format(".SH \"{}\"\n", roff(upper(doc.command.group)));
    group = doc.command.group;
    page += fmt::format(".SS {}\n{}.PP\n{}.\n", roff(doc.command.words), synopsis(doc),
                        roff(doc.command.summary));
    print_options(page, doc);
    page += ".PP\n.nf\n.RS\n";
    for (const auto& line : lines_of(doc.command.example)) page += roff(line) + "\n";
    page += ".RE\n.fi\n";
  }
  return page + filled(kPageTail, "@LANGUAGE@",
                       roff(fmt::format("They are: {}.", fmt::join(language_first_words(), " "))));
}

// Completions

/// Options of a command as words, and those of them that take a value.
void split_options(const CommandDoc& doc, std::string& all, std::string& with_value) {
  for (const auto& option : doc.options) {
    for (const auto& name : option.names) {
      all += (all.empty() ? "" : " ") + name;
      if (!option.argument.empty()) with_value += (with_value.empty() ? "" : "|") + name;
    }
  }
}

bool takes_file(const CommandDoc& doc) {
  return std::any_of(doc.options.begin(), doc.options.end(),
                     [](const OptionDoc& option) { return option.word == "file"; });
}

struct Noun {
  std::string name{};
  std::vector<const CommandDoc*> verbs{};  // empty: the command is one word
};

std::vector<Noun> nouns_of(const std::vector<CommandDoc>& docs) {
  std::vector<Noun> nouns;
  for (const auto& doc : docs) {
    const std::size_t space = doc.command.words.find(' ');
    const std::string name = doc.command.words.substr(0, space);
    if (nouns.empty() || nouns.back().name != name) nouns.push_back({.name = name});
    if (space != std::string::npos) nouns.back().verbs.push_back(&doc);
  }
  return nouns;
}

std::string verb_of(const CommandDoc& doc) {
  return doc.command.words.substr(doc.command.words.find(' ') + 1);
}

std::string make_bash(const std::vector<CommandDoc>& docs) {
  std::string names;
  std::string verbs;
  std::string options;
  for (const auto& noun : nouns_of(docs)) {
    names += (names.empty() ? "" : " ") + noun.name;
    if (noun.verbs.empty()) continue;
    std::string list;
    for (const auto* verb : noun.verbs) list += (list.empty() ? "" : " ") + verb_of(*verb);
    verbs += fmt::format("    {}) verbs='{}' ;;\n", noun.name, list);
  }
  for (const auto& doc : docs) {
    std::string all;
    std::string with_value;
    split_options(doc, all, with_value);
    options += fmt::format("    '{}') options='{}'; files={} ;;\n", doc.command.words, all,
                           takes_file(doc) ? "yes" : "");
  }
  return fmt::format(
      R"sh(# bash completion of cachee; made by cachee_doc from the help of the commands.
_cachee_segments() {{
  local path
  for path in /dev/shm/cachee.*; do
    path=${{path#/dev/shm/cachee.}}
    [[ $path == '*' || $path == *.lock* ]] || printf '%s\n' "$path"
  done
}}

_cachee() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}}
  local command='' verbs='' options='' files='' index word
  COMPREPLY=()
  for ((index = 1; index < COMP_CWORD; index++)); do
    word=${{COMP_WORDS[index]}}
    case $word in
    -n | --name | --runtime-dir | --state-dir) ((index++)) ;;
    -*) ;;
    *)
      if [[ -z $command ]]; then
        command=$word
        case $command in
{verbs}        esac
        [[ -n $verbs ]] || break
      else
        command+=" $word"
        verbs=
        break
      fi
      ;;
    esac
  done
  case $previous in
  -n | --name)
    if [[ $command != 'trigger register' || $previous == -n ]]; then
      mapfile -t COMPREPLY < <(compgen -W "$(_cachee_segments)" -- "$current")
      return
    fi
    ;;
  --runtime-dir | --state-dir)
    mapfile -t COMPREPLY < <(compgen -d -- "$current")
    return
    ;;
  esac
  case $command in
  '') options='-n --name --json --runtime-dir --state-dir --version -h --help' ;;
{options}  esac
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
  elif [[ -z $command ]]; then
    mapfile -t COMPREPLY < <(compgen -W '{names}' -- "$current")
  elif [[ -n $verbs ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$current")
  elif [[ -n $files ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}}
complete -o filenames -F _cachee cachee
)sh",
      fmt::arg("verbs", verbs), fmt::arg("options", options), fmt::arg("names", names));
}

/// A text inside single quotes of an _arguments specification.
std::string zsh_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else if (c == '[' || c == ']' || c == ':' || c == '\\') {
      out += '\\';
      out += c;
    } else {
      out += c;
    }
  }
  return out;
}

std::string zsh_action(const std::string& name) {
  if (name == "-n" || name == "--name") return ":segment:_cachee_segments";
  if (name == "--runtime-dir" || name == "--state-dir") return ":directory:_files -/";
  return ":value:";
}

std::string zsh_options(const CommandDoc& doc) {
  std::string specs;
  for (const auto& option : doc.options) {
    for (const auto& name : option.names) {
      const bool own_name = doc.command.words == "trigger register" && name == "--name";
      const std::string action = option.argument.empty() ? ""
                                 : own_name              ? ":trigger:"
                                                         : zsh_action(name);
      specs += fmt::format(" \\\n        '*{}[{}]{}'", name, zsh_text(option.help), action);
    }
    if (option.word.empty()) continue;
    specs += fmt::format(" \\\n        '{}:{}:{}'", option.many ? "*" : "", zsh_text(option.word),
                         option.word == "file" ? "_files" : "");
  }
  return specs;
}

std::string make_zsh(const std::vector<CommandDoc>& docs) {
  std::string names;
  std::string cases;
  for (const auto& noun : nouns_of(docs)) {
    const auto doc = std::find_if(docs.begin(), docs.end(), [&](const CommandDoc& candidate) {
      return candidate.command.words == noun.name;
    });
    if (noun.verbs.empty()) {
      names += fmt::format("    '{}:{}'\n", noun.name, zsh_text(doc->command.summary));
      cases +=
          fmt::format("    {})\n      _arguments -s{}\n      ;;\n", noun.name, zsh_options(*doc));
      continue;
    }
    std::string verbs;
    std::string inner;
    for (const auto* verb : noun.verbs) {
      verbs += fmt::format(" '{}:{}'", verb_of(*verb), zsh_text(verb->command.summary));
      inner += fmt::format("      {})\n        _arguments -s{}\n        ;;\n", verb_of(*verb),
                           zsh_options(*verb));
    }
    names += fmt::format("    '{0}:{0} ...'\n", noun.name);
    cases += fmt::format(
        "    {})\n      if ((CURRENT == 2)); then\n        verbs=({})\n"
        "        _describe verb verbs\n        return\n      fi\n      shift words\n      "
        "((CURRENT--))\n"
        "      case $words[1] in\n{}      esac\n      ;;\n",
        noun.name, verbs, inner);
  }
  return fmt::format(R"sh(#compdef cachee
# zsh completion of cachee; made by cachee_doc from the help of the commands.
_cachee_segments() {{
  local -a segments
  segments=(/dev/shm/cachee.*(N:t))
  segments=(${{${{segments:#*.lock*}}#cachee.}})
  compadd -a segments
}}

_cachee() {{
  local curcontext=$curcontext state line
  local -a commands verbs
  commands=(
{names}  )
  _arguments -C \
    '(-n --name)'{{-n,--name}}'[segment]:segment:_cachee_segments' \
    '--json[print JSON]' \
    '--runtime-dir[where the control socket is]:directory:_files -/' \
    '--state-dir[where logs are]:directory:_files -/' \
    '--version[print the version]' \
    '(-h --help)'{{-h,--help}}'[print the help]' \
    '1:command:->command' \
    '*::argument:->argument'
  case $state in
  command) _describe command commands ;;
  argument)
    case $words[1] in
{cases}    esac
    ;;
  esac
}}

_cachee "$@"
)sh",
                     fmt::arg("names", names), fmt::arg("cases", cases));
}

bool write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file{path, std::ios::binary | std::ios::trunc};
  file << text;
  file.close();
  if (!file) fmt::print(stderr, "cachee_doc: cannot write {}\n", path.string());
  return static_cast<bool>(file);
}

}  // namespace
}  // namespace cachee::cli

int main(int argc, char** argv) {
  using namespace cachee::cli;
  if (argc != 2) {
    fmt::print(stderr, "usage: cachee_doc DIRECTORY\n");
    return 2;
  }
  const std::filesystem::path folder{argv[1]};
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  const auto docs = document_all();
  const bool good = write_file(folder / "cachee.1", make_page(docs)) &&
                    write_file(folder / "cachee.bash", make_bash(docs)) &&
                    write_file(folder / "_cachee", make_zsh(docs));
  return good ? 0 : 1;
}
