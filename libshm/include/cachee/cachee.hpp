// All of the C++ API in one include; see cache.hpp.
#pragma once

#include <cachee/cache.hpp>
#include <cachee/inspect.hpp>
#include <cachee/options.hpp>
#include <cachee/pinned_value.hpp>
#include <cachee/result.hpp>
#include <cachee/segment_name.hpp>
#include <cachee/subscription.hpp>
#include <cachee/triggers.hpp>
#include <cachee/types.hpp>
#include <cachee/version.hpp>
