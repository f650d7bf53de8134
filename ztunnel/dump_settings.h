// SPDX-License-Identifier: Apache-2.0
// The effective configuration as JSON, under the reference's names where it has them (data-plane contract 9.7, "config"). Secrets stay out:
// tokens and header values are named, not shown. Pure; any thread.
#pragma once

#include "ztunnel/settings.h"

#include <nlohmann/json.hpp>

namespace warren::ztunnel {

[[nodiscard]] nlohmann::json settings_json(const Settings& settings);

}  // namespace warren::ztunnel
