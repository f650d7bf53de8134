// SPDX-License-Identifier: Apache-2.0
#include "agent/node/kube_pod.h"
#include "agent/node/enablement.h"
#include "agent/node/pod_processes.h"
#include "tests/catch.h"

using namespace warren;
using namespace warren::node;

namespace {

constexpr const char* kPod = R"({"metadata":{"namespace":"prod","name":"web","uid":"u-1","labels":{"app":"web"},
  "annotations":{"ambient.istio.io/dns-capture":"F","ambient.istio.io/bypass-inbound-capture":"True","ambient.istio.io/redirection":"enabled"}},
  "spec":{"nodeName":"n1","serviceAccountName":"shop"},"status":{"phase":"Running","podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"},{"ip":"fd00::1"},{"ip":"x"}]}})";

const Labels kAmbient = {{"istio.io/dataplane-mode", "ambient"}}, kNone = {{"istio.io/dataplane-mode", "none"}},
             kOther = {{"istio.io/dataplane-mode", "sidecar"}};

KubePod pod_of(const std::string& spec, const std::string& annotations = "{}", const std::string& phase = "Running") {
    const auto pod = read_kube_pod(R"({"metadata":{"namespace":"a","name":"b","uid":"c","annotations":)" + annotations + R"(},"spec":)" +
                                   spec + R"(,"status":{"phase":")" + phase + "\"}}");
    REQUIRE(pod);
    return *pod;
}

}  // namespace

TEST_CASE("kube pod: what the agent reads of it, and how it is enrolled") {
    const auto pod = read_kube_pod(kPod);
    REQUIRE(pod);
    CHECK(pod->key() == "prod/web");
    CHECK(pod->node == "n1");
    CHECK(pod->redirection() == "enabled");
    CHECK(pod->addresses.size() == 2);
    CHECK_FALSE(never_enrolled(*pod));
    std::vector<std::string> ignored;
    const Pod out = enrolled_form(*pod, true, ignored);
    CHECK(ignored.empty());
    CHECK_FALSE(out.dns_capture);
    CHECK_FALSE(out.ingress_capture);
    CHECK(out.service_account == "shop");
    CHECK_FALSE(out.annotations.contains(kRedirectionAnnotation));  // writing it is no change of the pod
}

TEST_CASE("kube pod: annotations that are no booleans are ignored and named") {
    std::vector<std::string> ignored;
    const Pod out = enrolled_form(pod_of("{}", R"({"ambient.istio.io/dns-capture":"no","ambient.istio.io/bypass-inbound-capture":"yes"})"),
                                  true, ignored);
    CHECK(out.dns_capture);
    CHECK(out.ingress_capture);
    CHECK(ignored.size() == 2);
}

TEST_CASE("kube pod: what no label overrules (contract 1.2, rows 1, 2, 5)") {
    CHECK(never_enrolled(pod_of(R"({"hostNetwork":true})")));
    CHECK(never_enrolled(pod_of("{}", R"({"sidecar.istio.io/status":""})")));
    CHECK(never_enrolled(pod_of("{}", "{}", "Succeeded")));
    CHECK(never_enrolled(pod_of("{}", "{}", "Failed")));
    CHECK_FALSE(never_enrolled(pod_of("{}", "{}", "Pending")));
    CHECK(pod_of("{}", R"({"kubernetes.io/config.mirror":"0123456789abcdef0123456789abcdef"})").node_uid ==
          "0123456789abcdef0123456789abcdef");
    for (const char* bad :
         {"", "[]", "{}", R"({"metadata":{"namespace":"a","name":"b"}})", R"({"metadata":{"namespace":"a","name":"b","uid":1}})",
          R"({"metadata":{"namespace":"a","name":"b","uid":"c"},"spec":{"hostNetwork":"true"}})",
          R"({"metadata":{"namespace":"a","name":"b","uid":"c","labels":{"x":1}}})"})
        CHECK_FALSE(read_kube_pod(bad));
}

TEST_CASE("enablement: the default selectors") {
    const Enablement e = Enablement::standard();
    struct Case {
        Labels pod, ns;
        bool in;
    };
    for (const Case& c : {Case{{}, {}, false},
                          {kAmbient, {}, true},
                          {kAmbient, kNone, true},
                          {{}, kAmbient, true},
                          {kNone, kAmbient, false},
                          {kOther, kAmbient, true},
                          {kOther, {}, false},
                          {{}, kNone, false}})
        CHECK(e.matches(c.pod, c.ns) == c.in);
}

TEST_CASE("enablement: selectors of one's own") {
    const auto e = Enablement::from_yaml(R"(
- podSelector: {matchLabels: {mesh: "yes"}, matchExpressions: [{key: tier, operator: Exists}]}
- namespaceSelector: {matchExpressions: [{key: env, operator: In, values: [prod, stage]}, {key: out, operator: DoesNotExist}]}
)");
    REQUIRE(e);
    CHECK(e->matches({{"mesh", "yes"}, {"tier", "x"}}, {}));
    CHECK_FALSE(e->matches({{"mesh", "yes"}}, {}));
    CHECK(e->matches({}, {{"env", "stage"}}));
    CHECK_FALSE(e->matches({}, {{"env", "stage"}, {"out", ""}}));
    CHECK(Enablement::from_yaml("[{}]")->matches({}, {}));  // an empty half matches all
    CHECK_FALSE(Enablement::from_yaml("[]")->matches(kAmbient, kAmbient));
    for (const char* bad : {"{}", "[{podselector: {}}]", "[{podSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}}]",
                            "[{podSelector: {matchExpressions: [{key: a, operator: In}]}}]"})
        CHECK_FALSE(Enablement::from_yaml(bad));
}

TEST_CASE("pod processes: a pod's uid in the spellings of cgroup drivers and runtimes") {
    const std::string uid = "12345678-90ab-cdef-1234-567890abcdef", escaped = "12345678_90ab_cdef_1234_567890abcdef";
    CHECK(pod_uid_of_cgroup("0::/kubepods/burstable/pod" + uid + "/abc\n") == uid);
    CHECK(pod_uid_of_cgroup("0::/kubepods.slice/kubepods-pod" + escaped + ".slice/cri-containerd-ab.scope\n") == uid);
    CHECK(pod_uid_of_cgroup("5:memory:/x\n0::/../../kubepods/pod" + uid + "\n") == uid);
    CHECK(pod_uid_of_cgroup("0::/kubepods/pod0123456789abcdef0123456789abcdef/x") == "0123456789abcdef0123456789abcdef");
    for (const char* none : {"", "0::/", "0::/kubepods/besteffort", "0::/kubepods/pod12345678-90ab-cdef-1234-567890abcde",
                             "0::/tripod12345678-90ab-cdef-1234-567890abcdef", "0::/pod12345678-90ab-cdef-1234-567890abcdef0"})
        CHECK(pod_uid_of_cgroup(none).empty());
}
