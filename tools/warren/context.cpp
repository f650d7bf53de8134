// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/context.h"

#include "tools/warren/yaml_text.h"

#include <ostream>

namespace warren::tools {

void Context::print(const Json& document) const { out << (globals.output == "yaml" ? to_yaml(document) : to_text(document, 2) + '\n'); }

void Context::print(const Table& table, const Json& document) const {
    if (for_people())
        out << table.render(colour());
    else
        print(document);
}

void Context::note(const std::string& text) const { err << "warren: " << harmless(text) << '\n'; }

}  // namespace warren::tools
