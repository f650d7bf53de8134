// SPDX-License-Identifier: Apache-2.0
// The text of a metrics page, in the Prometheus format 0.0.4 and in OpenMetrics 1.0. Pure functions over a string; any thread. The two
// differ in what a counter's family is called (OpenMetrics leaves "_total" to the sample), in escaping HELP, in how a bucket bound is
// written ("1" and "1.0") and in the closing "# EOF".
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace warren::base::metrics {

enum class Exposition : uint8_t { Prometheus, OpenMetrics };
enum class Type : uint8_t { Counter, Gauge, Histogram };

using Label = std::pair<std::string_view, std::string_view>;

// Letters, digits, underscore, no digit first; colons in metric names only.
[[nodiscard]] bool valid_metric_name(std::string_view name) noexcept;
[[nodiscard]] bool valid_label_name(std::string_view name) noexcept;

// a="b",c="d" with the values escaped; both formats write labels alike, so a series renders its own once.
void append_labels(std::string& out, std::span<const Label> labels);

// HELP and TYPE. name is the sample's name: a counter's ends in _total.
void append_head(std::string& out, Exposition exposition, Type type, std::string_view name, std::string_view help);
// name[suffix]{labels} value
void append_sample(std::string& out, std::string_view name, std::string_view labels, uint64_t value);
void append_sample(std::string& out, std::string_view name, std::string_view labels, int64_t value);
void append_sample(std::string& out, std::string_view name, std::string_view labels, double value);
// name_bucket{labels,le="bound"} value
void append_bucket(std::string& out, Exposition exposition, std::string_view name, std::string_view labels, double bound, uint64_t value);

}  // namespace warren::base::metrics
