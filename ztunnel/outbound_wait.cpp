// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/outbound_wait.h"

#include "ztunnel/demand_names.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

namespace warren::ztunnel {
namespace {

// As long as the certificate store waits after a first refusal (contract 2.5), and a little.
constexpr auto kCertificateRetry = std::chrono::milliseconds(1'100);

// A connection whose local workload has not arrived yet (contract 5.2 step 2): waits for it, for a bounded time. Where the node agent's
// word may serve instead (stand_in.h), it does after a short one.
class WaitForRecord final : public PodConnection, public base::Buried {
  public:
    enum class For : uint8_t { Record, Certificate };
    static void start(PodProxy& pod, Captured captured, For what) {
        auto* self = new WaitForRecord(pod, std::move(captured), what);
        WorkerContext& worker = pod.worker();
        pod.enter(*self);
        if (!self->captured_.record_until) self->captured_.record_until = worker.loop.now() + worker.settings.workload_wait;
        self->captured_.stand_in = {};
        // On demand: asked for now, it is known in time whether the address is somebody else's.
        if (what == For::Record) (void)pod.source_at(self->captured_.client.ip);
        self->arm(what == For::Record ? worker.settings.record_wait : kCertificateRetry);
    }

  private:
    WaitForRecord(PodProxy& pod, Captured captured, For what)
        : pod_(pod), captured_(std::move(captured)), what_(what), timer_(base::Timer::of<&WaitForRecord::on_timeout>(*this)) {}
    void arm(std::chrono::milliseconds most) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(*captured_.record_until - pod_.worker().loop.now());
        pod_.worker().loop.arm(timer_, std::clamp(left, std::chrono::milliseconds(0), most));
    }
    void on_mesh_change() override {
        if (!over_ && (waited_ || what_ == For::Record)) (void)go_on();
    }
    bool go_on() {
        if (pod_.local() == nullptr) {
            if (!waited_) return false;
            captured_.stand_in = pod_.stand_in(captured_.client.ip);
            if (!captured_.stand_in) return false;
        }
        depart();
        Outbound::dispatch(pod_, std::move(captured_));
        return true;
    }
    void on_timeout() {
        waited_ = true;
        if (go_on()) return;
        const auto left = *captured_.record_until - pod_.worker().loop.now();
        if (left > std::chrono::nanoseconds(0)) return arm(std::chrono::ceil<std::chrono::milliseconds>(left));
        depart();
        Outbound::refuse(pod_, captured_, policy::to_string(policy::Reason::UnknownSource), "unknown source");
    }
    void cut(const std::string& why) override {
        if (over_) return;
        depart();
        Outbound::refuse(pod_, captured_, policy::to_string(policy::Reason::UnknownSource), why);
    }
    void depart() {
        over_ = true;
        pod_.worker().loop.disarm(timer_);
        PodConnection::leave();
        pod_.worker().loop.bury(std::unique_ptr<base::Buried>(this));
    }
    PodProxy& pod_;
    Captured captured_;
    const For what_;
    base::Timer timer_;
    bool waited_ = false;  // as long as it should before anybody's word but the mesh's
    bool over_ = false;
};

// An endpoint that is a hostname (contract 5.3, IP selection 4): waits for its address, for a bounded time.
class WaitForAddress final : public PodConnection, public base::Buried {
  public:
    static void start(PodProxy& pod, Captured captured, policy::Route route) {
        WorkerContext& worker = pod.worker();
        if (worker.resolver == nullptr)
            return Outbound::refuse(pod, captured, policy::to_string(policy::Reason::NoAddress), "hostnames cannot be resolved here");
        worker.traffic.on_demand_dns(policy::WorkloadRef(captured.source(pod)), route.resolve_hostname);
        auto* self = new WaitForAddress(pod, std::move(captured), std::move(route));
        pod.enter(*self);
        worker.loop.arm(self->timer_, worker.settings.connect_timeout);  // an answer may be lost with a full mailbox
        const auto prefer = self->captured_.destination.ip.is_v4() ? HostResolver::Prefer::V4 : HostResolver::Prefer::V6;
        worker.resolver->resolve(self->route_.resolve_hostname, prefer, worker.loop,
                                 [self, alive = self->alive_](base::Result<base::IpAddr> ip) {
                                     if (*alive) self->on_address(std::move(ip));
                                 });
    }

  private:
    WaitForAddress(PodProxy& pod, Captured captured, policy::Route route)
        : pod_(pod),
          captured_(std::move(captured)),
          route_(std::move(route)),
          timer_(base::Timer::of<&WaitForAddress::on_timeout>(*this)) {}
    void on_address(base::Result<base::IpAddr> ip) {
        if (!ip) return fail(ip.error().message());
        depart();
        policy::set_resolved(route_, *ip);
        Outbound::start(pod_, std::move(captured_), std::move(route_));
    }
    void on_timeout() { fail("the name was not resolved in time"); }
    void on_mesh_change() override {}
    void cut(const std::string& why) override {
        if (*alive_) fail(why);
    }
    void fail(const std::string& why) {
        depart();
        Outbound::refuse(pod_, captured_, policy::to_string(policy::Reason::NoAddress), route_.resolve_hostname.str() + ": " + why);
    }
    void depart() {
        *alive_ = false;
        pod_.worker().loop.disarm(timer_);
        PodConnection::leave();
        pod_.worker().loop.bury(std::unique_ptr<base::Buried>(this));
    }
    PodProxy& pod_;
    Captured captured_;
    policy::Route route_;
    base::Timer timer_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// A connection whose destination, or a gateway on the way there, is not known here yet (contract 3.6): asks for it and waits, for a bounded
// time, after which it is refused: what may be of the mesh is never passed through.
class WaitForNames final : public PodConnection, public base::Buried {
  public:
    // False: nothing to wait for.
    static bool start(PodProxy& pod, Captured& captured) {
        WorkerContext& worker = pod.worker();
        const policy::Workload* local = captured.source(pod);
        if (worker.on_demand == nullptr || local == nullptr) return false;
        OnDemand& table = *worker.on_demand;
        const policy::NetworkAddress destination{pod.network(), captured.destination.ip};
        DemandNames names = demand_names(*worker.snapshot, {*local, destination, table.options().services});
        table.use(names.used);
        if (table.known(names.needed, worker.snapshot->version())) return false;
        if (!captured.wait_until) captured.wait_until = worker.loop.now() + table.options().wait;
        auto* self = new WaitForNames(pod, std::move(captured));
        pod.enter(*self);
        self->ask(names.needed);
        return true;
    }

  private:
    WaitForNames(PodProxy& pod, Captured captured)
        : pod_(pod), captured_(std::move(captured)), timer_(base::Timer::of<&WaitForNames::on_timeout>(*this)) {}
    void ask(const OnDemand::Names& names) {
        WorkerContext& worker = pod_.worker();
        auto ticket = worker.on_demand->ask(names, worker.snapshot->version(), worker.loop, [self = this, alive = alive_] {
            if (*alive) self->go_on();
        });
        if (!ticket) return fail("on_demand_limit", ticket.error().message());
        ticket_ = std::move(*ticket);
        if (ticket_ == nullptr) return go_on();
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(*captured_.wait_until - worker.loop.now());
        worker.loop.arm(timer_, std::max(left, std::chrono::milliseconds(0)));
    }
    void go_on() {
        depart(false);
        Outbound::dispatch(pod_, std::move(captured_));
    }
    void on_timeout() {
        depart(true);
        Outbound::refuse(pod_, captured_, "on_demand_timeout",
                         "the control plane did not say in time who has " + captured_.destination.ip.to_string());
    }
    void on_mesh_change() override {}
    void cut(const std::string& why) override {
        if (*alive_) fail("cut", why);
    }
    void fail(std::string_view code, const std::string& why) {
        depart(false);
        Outbound::refuse(pod_, captured_, code, why);
    }
    void depart(bool timed_out) {
        *alive_ = false;
        pod_.worker().on_demand->cancel(ticket_, timed_out);
        pod_.worker().loop.disarm(timer_);
        PodConnection::leave();
        pod_.worker().loop.bury(std::unique_ptr<base::Buried>(this));
    }
    PodProxy& pod_;
    Captured captured_;
    base::Timer timer_;
    OnDemand::Ticket ticket_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

void wait_for_record(PodProxy& pod, Captured captured) { WaitForRecord::start(pod, std::move(captured), WaitForRecord::For::Record); }
void wait_for_certificate(PodProxy& pod, Captured captured) {
    WaitForRecord::start(pod, std::move(captured), WaitForRecord::For::Certificate);
}
bool wait_for_names(PodProxy& pod, Captured& captured) { return WaitForNames::start(pod, captured); }
void wait_for_address(PodProxy& pod, Captured captured, policy::Route route) {
    WaitForAddress::start(pod, std::move(captured), std::move(route));
}

}  // namespace warren::ztunnel
