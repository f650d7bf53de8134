// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/crl.h"

#include "tests/catch.h"
#include "tests/ztunnel/test_ca.h"

using namespace warren;
using namespace warren::tests;
using namespace warren::ztunnel;

namespace {
std::string refusal(const std::string& file) {
    const auto list = RevocationList::parse(file);
    return list ? "" : list.error().message();
}
}  // namespace

TEST_CASE("revocation list: several PEM lists, other blocks between them, or one DER list") {
    const TestCa ca("a"), other("b");
    CHECK(RevocationList::parse(ca.crl_pem({1}) + "a remark\n" + ca.pem() + other.crl_pem({2})).value()->lists() == 2);
    CHECK(RevocationList::parse(pem_to_der(ca.crl_pem({1}))).value()->lists() == 1);
}

TEST_CASE("revocation list: an empty file revokes nobody") {
    CHECK(RevocationList::parse("").value()->lists() == 0);
    CHECK(RevocationList::parse(" \n\n").value()->lists() == 0);
}

TEST_CASE("revocation list: what is damaged or no list at all is an error, not an empty list") {
    const TestCa ca("a");
    const std::string pem = ca.crl_pem({1}), der = pem_to_der(pem);
    CHECK_THAT(refusal("hello"), Catch::Contains("does not parse"));
    CHECK_THAT(refusal(ca.pem()), Catch::Contains("none is an X509 CRL"));
    CHECK_THAT(refusal(der + "x"), Catch::Contains("foreign bytes"));
    CHECK_THAT(refusal(der.substr(0, der.size() - 1)), Catch::Contains("does not parse"));
    std::string cut = pem;
    cut.erase(cut.size() / 2);
    CHECK_THAT(refusal(cut), Catch::Contains("damaged"));
    CHECK_THAT(refusal(pem + cut), Catch::Contains("damaged"));
}

TEST_CASE("revocation list: the revocation index: mentions finds the certificates worth a second look") {
    const TestCa ca("a"), other("b");
    const auto list = RevocationList::parse(ca.crl_pem({41, 42})).value();
    const auto leaf = [](const TestCa& by, long serial) {
        return pem_to_der(by.leaf(LeafSpec{.uris = {}, .dns = {}, .eku = "", .serial = serial}).cert_pem);
    };
    CHECK(list->mentions(leaf(ca, 42)));
    CHECK_FALSE(list->mentions(leaf(ca, 43)));
    CHECK_FALSE(list->mentions(leaf(other, 42)));
    CHECK_FALSE(list->mentions("junk"));
}
