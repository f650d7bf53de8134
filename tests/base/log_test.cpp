// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include "base/fd.h"
#include "base/log_limit.h"
#include "tests/catch.h"

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace warren::base;
using namespace std::chrono_literals;
using log::Field;
using log::Level;

namespace {

// 2024-02-29T23:59:58.000123Z
constexpr std::chrono::system_clock::time_point kTime{std::chrono::microseconds(1'709'251'198'000'123)};

std::string line(log::Format format, std::string_view message, std::initializer_list<Field> fields) {
    std::string out;
    log::append_line(out, format, {kTime, Level::Info, "access", message, {fields.begin(), fields.size()}});
    return out;
}

std::string text(std::string_view message, std::initializer_list<Field> fields = {}) { return line(log::Format::Text, message, fields); }
std::string json(std::string_view message, std::initializer_list<Field> fields = {}) { return line(log::Format::Json, message, fields); }

struct Pipe {
    Pipe() {
        std::array<int, 2> fds{};
        REQUIRE(::pipe2(fds.data(), O_CLOEXEC) == 0);
        in = fds[0];
        out = fds[1];
    }
    ~Pipe() {
        close_in();
        if (out >= 0) ::close(out);
    }
    void close_in() {
        if (in >= 0) ::close(in);
        in = -1;
    }
    // Fills the pipe to the last byte, so that the next write blocks.
    size_t fill() const {
        const int flags = ::fcntl(out, F_GETFL);
        REQUIRE(::fcntl(out, F_SETFL, flags | O_NONBLOCK) == 0);
        const std::string block(4096, '.');
        size_t n = 0;
        for (ssize_t done = 0; (done = ::write(out, block.data(), block.size())) > 0;) n += static_cast<size_t>(done);
        for (; ::write(out, ".", 1) == 1;) ++n;
        REQUIRE(::fcntl(out, F_SETFL, flags) == 0);
        return n;
    }
    // Reads until `lines` line feeds came or nothing comes for five seconds.
    std::string read_lines(size_t lines) const {
        std::string got;
        std::array<char, 65536> buffer{};
        for (size_t seen = 0; seen < lines;) {
            pollfd ready{in, POLLIN, 0};
            if (::poll(&ready, 1, 5000) != 1) break;
            const ssize_t n = ::read(in, buffer.data(), buffer.size());
            if (n <= 0) break;
            for (ssize_t i = 0; i < n; ++i) seen += buffer[static_cast<size_t>(i)] == '\n' ? 1u : 0u;
            got.append(buffer.data(), static_cast<size_t>(n));
        }
        return got;
    }
    int in = -1, out = -1;
};

struct Stop {
    ~Stop() {
        log::stop();
        log::set_filter(log::Filter());
    }
};

}  // namespace

TEST_CASE("log: a text line is tab separated, strings quoted, addresses bare") {
    const std::optional<std::string> none;
    CHECK(text("connection complete", {{"src.addr", log::Plain{"10.0.0.1:4711"}},
                                       {"src.workload", "shell"},
                                       {"src.identity", none},
                                       {"bytes_sent", uint64_t{18446744073709551615u}},
                                       {"delta", -3},
                                       {"ratio", 0.5},
                                       {"reused", true},
                                       {"duration", std::string("12ms")}}) ==
          "2024-02-29T23:59:58.000123Z\tinfo\taccess\tconnection complete\tsrc.addr=10.0.0.1:4711 src.workload=\"shell\" "
          "bytes_sent=18446744073709551615 delta=-3 ratio=0.5 reused=true duration=\"12ms\"\n");
    CHECK(text("ready") == "2024-02-29T23:59:58.000123Z\tinfo\taccess\tready\n");
}

TEST_CASE("log: a JSON line has level, time and scope first") {
    CHECK(json("connection complete", {{"src.addr", log::Plain{"[::1]:80"}}, {"bytes_sent", 7u}, {"ok", false}, {"load", 1.5}}) ==
          R"({"level":"info","time":"2024-02-29T23:59:58.000123Z","scope":"access","message":"connection complete",)"
          R"("src.addr":"[::1]:80","bytes_sent":7,"ok":false,"load":1.5})"
          "\n");
    const char* null = nullptr;
    CHECK(json("x", {{"gone", null}, {"bad", std::numeric_limits<double>::infinity()}}) ==
          R"({"level":"info","time":"2024-02-29T23:59:58.000123Z","scope":"access","message":"x","bad":"+Inf"})"
          "\n");
}

TEST_CASE("log: whatever a value holds, one event is one line of valid UTF-8") {
    using namespace std::string_literals;
    const std::string nasty = "a\n\t\r\"\\\0\x1b\x7f\xc2\x9b|\xff|\xc0\xaf|\xed\xa0\x80|\xe2\x82|\xe2\x82\xac"s;
    const std::string_view head = "2024-02-29T23:59:58.000123Z\tinfo\taccess\t";
    const std::string u = "\xef\xbf\xbd";
    CHECK(text("m", {{"k", nasty}}) == std::string(head) + "m\tk=\"a\\n\\t\\r\\\"\\\\\\u{0}\\u{1b}\\u{7f}\\u{9b}|" + u + "|" + u + u + "|" +
                                           u + u + u + "|" + u + u + "|\xe2\x82\xac\"\n");
    CHECK(text("a\nb\tc\"d\\e") == std::string(head) + "a\\nb\\tc\"d\\e\n");
    CHECK(text("m", {{"k", log::Plain{"1 2\n3"}}}) == std::string(head) + "m\tk=1 2\\n3\n");
    const std::string got = json("m", {{"k\n", nasty}});
    CHECK(got.substr(got.find("\"message\"")) == "\"message\":\"m\",\"k\\n\":\"a\\n\\t\\r\\\"\\\\\\u0000\\u001b\\u007f\\u009b|" + u + "|" +
                                                     u + u + "|" + u + u + u + "|" + u + u + "|\xe2\x82\xac\"}\n");
}

TEST_CASE("log: a long value is cut on a character and says how long it was") {
    const std::string euros = [] {
        std::string s;
        while (s.size() <= log::kMaxValueBytes) s += "\xe2\x82\xac";
        return s;
    }();
    const std::string got = text("m", {{"k", euros}});
    CHECK(got.ends_with("\xe2\x82\xac... (8193 bytes)\"\n"));
    CHECK(got.size() < log::kMaxValueBytes + 100);
    CHECK(got.find("\xef\xbf\xbd") == std::string::npos);
}

TEST_CASE("log: filters choose by the longest target that begins the name") {
    const auto f = log::Filter::parse("WARN, xds=debug,proxy=off,proxy::inbound=trace,");
    REQUIRE(f);
    CHECK(f->level_for("xds") == Level::Debug);
    CHECK(f->level_for("xds::client") == Level::Debug);
    CHECK(f->level_for("proxy::outbound") == Level::Off);
    CHECK(f->level_for("proxy::inbound") == Level::Trace);
    CHECK(f->level_for("access") == Level::Warn);
    CHECK(f->text() == "warn,proxy=off,proxy::inbound=trace,xds=debug");
    CHECK(*log::Filter::parse(f->text()) == *f);
    CHECK(log::Filter::parse("xds=debug")->level_for("access") == Level::Info);
    CHECK(log::Filter().text() == "info");
}

TEST_CASE("log: a bad filter names what is wrong") {
    const auto why = [](std::string_view filter) {
        const auto f = log::Filter::parse(filter);
        return f ? std::string("accepted") : f.error().message();
    };
    CHECK(why("info,xds") ==
          "log filter: \"xds\" is not a level (off, error, warn, info, debug, trace); a target needs one, as in target=debug");
    CHECK(why("xds=loud") == "log filter: \"loud\" in \"xds=loud\" is not a level (off, error, warn, info, debug, trace)");
    CHECK(why("xds=") == "log filter: \"\" in \"xds=\" is not a level (off, error, warn, info, debug, trace)");
    CHECK(why("a[b]=info") == "log filter: \"a[b]\" in \"a[b]=info\" is not a target (letters, digits, _ - . :)");
    CHECK(why("=info") == "log filter: \"\" in \"=info\" is not a target (letters, digits, _ - . :)");
    CHECK(why("") == "log filter is empty: give a level, as in info, or target=level");
    CHECK(why(" , ") == "log filter is empty: give a level, as in info, or target=level");
    CHECK(why(std::string(4097, ',')) == "log filter of 4097 bytes: at most 4096 are taken");
    std::string many;
    for (int i = 0; i < 101; ++i) many += "t" + std::to_string(i) + "=info,";
    CHECK(why(many) == "log filter has more than 100 targets");
}

TEST_CASE("log: merging lets the later filter win and keeps the rest") {
    auto f = *log::Filter::parse("info,xds=debug,dns=warn");
    REQUIRE(f.merge(*log::Filter::parse("xds=error,access=trace")));
    CHECK(f.text() == "info,access=trace,dns=warn,xds=error");
    REQUIRE(f.merge(*log::Filter::parse("debug")));
    CHECK(f.text() == "debug,access=trace,dns=warn,xds=error");
}

TEST_CASE("log: levels change at run time, and a disabled event evaluates nothing") {
    const Stop stop;
    Pipe pipe;
    log::Options options;
    options.fd = pipe.out;
    REQUIRE(log::start(options));
    CHECK(log::start(options).error().code == Errc::Exists);
    const log::Area early("test::early");
    log::set_filter(*log::Filter::parse("error,test::late=debug"));
    const log::Area late("test::late");
    CHECK(early.level() == Level::Error);
    CHECK(late.level() == Level::Debug);
    int evaluated = 0;
    WARREN_LOG(early, Level::Info, "no", {"n", ++evaluated});
    WARREN_LOG(late, Level::Debug, "yes", {"n", ++evaluated}, {"what", "late"});
    log::set_filter(*log::Filter::parse("debug"));
    WARREN_LOG(early, Level::Debug, "bare");
    CHECK(evaluated == 1);
    REQUIRE(log::flush());
    const std::string got = pipe.read_lines(2);
    CHECK(got.find("\tdebug\ttest::late\tyes\tn=1 what=\"late\"\n") != std::string::npos);
    CHECK(got.find("\tdebug\ttest::early\tbare\n") != std::string::npos);
    CHECK(got.find("\tno") == std::string::npos);
    CHECK(log::filter().text() == "debug");
}

TEST_CASE("log: backpressure_exerted, multi_threaded_writes: four threads through a small queue lose nothing and keep their order") {
    const Stop stop;
    Pipe pipe;
    constexpr size_t kEach = 5000;
    const log::Stats before = log::stats();
    log::Options options;
    options.fd = pipe.out;
    options.queue_lines = 128;
    options.full_deadline = 20s;
    options.format = log::Format::Json;
    REQUIRE(log::start(options));
    const log::Area area("test");
    std::vector<std::thread> writers;
    for (size_t w = 0; w < 4; ++w)
        writers.emplace_back([&, w] {
            for (size_t i = 0; i < kEach; ++i) WARREN_LOG(area, Level::Info, "m", {"w", w}, {"i", i});
        });
    const std::string got = pipe.read_lines(4 * kEach);
    for (auto& w : writers) w.join();
    std::array<size_t, 4> next{};
    size_t wrong = 0;
    size_t lines = 0;
    for (size_t from = 0; from < got.size(); ++lines) {
        const size_t end = got.find('\n', from);
        const std::string one = got.substr(from, end - from);
        from = end + 1;
        const size_t at = one.find("\"w\":");
        REQUIRE(at != std::string::npos);
        const auto w = static_cast<size_t>(one[at + 4] - '0');
        REQUIRE(w < 4);
        wrong += one.ends_with(",\"i\":" + std::to_string(next[w]++) + "}") ? 0u : 1u;
    }
    CHECK(lines == 4 * kEach);
    CHECK(wrong == 0);
    REQUIRE(log::flush());
    CHECK(log::stats().written - before.written == 4 * kEach);
    CHECK(log::stats().dropped == before.dropped);
}

TEST_CASE("log: a stuck descriptor costs one deadline, then lines are dropped and counted, then it recovers") {
    Pipe pipe;
    const size_t filler = pipe.fill();
    auto writer = log::Writer::start({.fd = pipe.out, .queue_lines = 4, .full_deadline = 50ms});
    REQUIRE(writer);
    log::Writer& w = **writer;
    REQUIRE(w.push("first\n"));
    // The thread takes the first batch and hangs in writev; then the queue itself fills.
    const auto began = std::chrono::steady_clock::now();
    size_t accepted = 1;
    while (w.push("line\n")) REQUIRE(++accepted < 100);
    CHECK(std::chrono::steady_clock::now() - began >= 50ms);
    CHECK(w.stats().dropped == 1);
    const auto stuck = std::chrono::steady_clock::now();
    for (int i = 0; i < 1000; ++i) CHECK_FALSE(w.push("lost\n"));
    CHECK(std::chrono::steady_clock::now() - stuck < 10s);  // 1000 deadlines would be 50 s
    CHECK(w.stats().dropped == 1001);
    CHECK_FALSE(w.flush(10ms));

    std::string swallowed(filler, '\0');
    for (size_t got = 0; got < filler;) {
        const ssize_t n = ::read(pipe.in, swallowed.data() + got, filler - got);
        REQUIRE(n > 0);
        got += static_cast<size_t>(n);
    }
    REQUIRE(w.flush(5s));
    REQUIRE(w.push("after\n"));
    REQUIRE(w.flush(5s));
    const std::string got = pipe.read_lines(accepted + 1);
    CHECK(got.starts_with("first\nline\n"));
    CHECK(got.ends_with("line\nafter\n"));
    CHECK(got.find("lost") == std::string::npos);
    CHECK(w.stats().written == accepted + 1);

    // Stuck a second time: a new deadline, not an old verdict.
    pipe.fill();
    const auto again = std::chrono::steady_clock::now();
    for (int i = 0; w.push("more\n"); ++i) REQUIRE(i < 100);
    CHECK(std::chrono::steady_clock::now() - again >= 50ms);
    pipe.close_in();  // lets the thread end
    CHECK(w.stop(5s));
    CHECK_FALSE(w.push("late\n"));
}

TEST_CASE("log: stopping does not wait for a descriptor that hangs") {
    Pipe pipe;
    pipe.fill();
    auto writer = log::Writer::start({.fd = pipe.out, .queue_lines = 4, .full_deadline = 50ms});
    REQUIRE(writer);
    REQUIRE((*writer)->push("x\n"));
    CHECK_FALSE((*writer)->stop(20ms));
    writer->reset();
    pipe.close_in();  // lets the thread that was left behind end
}

TEST_CASE("log: lines that were written leave no memory in the queue") {
    const Fd sink(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    auto writer = log::Writer::start({.fd = sink.get(), .queue_lines = 4000, .full_deadline = 20s});
    REQUIRE(writer);
    const size_t before = ::mallinfo2().uordblks;  // 0 under a sanitizer, which then proves nothing
    for (int i = 0; i < 20'000; ++i) REQUIRE((*writer)->push(std::string(1000, 'x') + "\n"));
    REQUIRE((*writer)->flush(20s));
    CHECK(::mallinfo2().uordblks < before + 512 * 1024);
}

TEST_CASE("log: a broken pipe is a count, not a signal") {
    Pipe pipe;
    pipe.close_in();
    auto writer = log::Writer::start({.fd = pipe.out});
    REQUIRE(writer);
    for (int i = 0; i < 100; ++i) REQUIRE((*writer)->push("x\n"));
    CHECK((*writer)->stop(5s));
    CHECK((*writer)->stats().failed == 100);
    CHECK((*writer)->stats().written == 0);
}

TEST_CASE("log: write_all_vectored_handles_partial_writes: a non-blocking descriptor gets long lines whole") {
    Pipe pipe;
    REQUIRE(::fcntl(pipe.out, F_SETFL, ::fcntl(pipe.out, F_GETFL) | O_NONBLOCK) == 0);
    auto writer = log::Writer::start({.fd = pipe.out});
    REQUIRE(writer);
    const std::string big = std::string(300'000, 'x') + "\n";
    for (int i = 0; i < 3; ++i) REQUIRE((*writer)->push(big));
    CHECK(pipe.read_lines(3) == big + big + big);
    CHECK((*writer)->stop(5s));
    CHECK((*writer)->stats().written == 3);
}

TEST_CASE("log: a writer without a descriptor or a queue is refused") {
    CHECK(log::Writer::start({.fd = -1}).error().message() ==
          "log descriptor: fcntl F_DUPFD_CLOEXEC descriptor -1: Bad file descriptor (EBADF)");
    CHECK(log::Writer::start({.fd = 1, .queue_lines = 0}).error().code == Errc::Invalid);
}

TEST_CASE("log: repeats are one line an interval, with their number") {
    using Clock = log::RepeatLimiter::Clock;
    const Clock::time_point t0{};
    log::RepeatLimiter limiter(10s, 2);
    CHECK(limiter.note("a", t0).log);
    for (int i = 0; i < 5; ++i) CHECK_FALSE(limiter.note("a", t0 + 9s).log);
    const auto again = limiter.note("a", t0 + 10s);
    CHECK(again.log);
    CHECK(again.repeated == 5u);
    const auto quiet = limiter.note("a", t0 + 20s);
    CHECK(quiet.log);
    CHECK_FALSE(quiet.repeated);

    SECTION("keys beyond the bound share one entry") {
        CHECK(limiter.note("b", t0 + 20s).log);
        CHECK(limiter.note("c", t0 + 20s).log);  // the first of the others
        CHECK_FALSE(limiter.note("d", t0 + 20s).log);
        CHECK_FALSE(limiter.note("e", t0 + 20s).log);
        CHECK(limiter.keys() == 3);
        const auto due = limiter.due(t0 + 30s);
        REQUIRE(due.size() == 1);
        CHECK(due[0].first == log::RepeatLimiter::kOtherKeys);
        CHECK(due[0].second == 2);
        CHECK(limiter.keys() == 1);  // the quiet ones are forgotten
    }
    SECTION("a report is one line for each key that is due") {
        const Stop stop;
        Pipe pipe;
        log::Options options;
        options.fd = pipe.out;
        REQUIRE(log::start(options));
        const log::Area area("test");
        CHECK_FALSE(limiter.note("a", t0 + 21s).log);
        limiter.report(area, Level::Warn, t0 + 25s);
        limiter.report(area, Level::Warn, t0 + 30s);
        limiter.report(area, Level::Warn, t0 + 40s);
        log::RepeatLimiter real(1h);
        for (int i = 0; i < 3; ++i) WARREN_LOG_LIMITED(area, Level::Warn, real, "k", "handshake failed", {"i", i});
        WARREN_LOG_LIMITED(area, Level::Warn, real, "j", "bare");
        REQUIRE(log::flush());
        const std::string got = pipe.read_lines(3);
        CHECK(std::count(got.begin(), got.end(), '\n') == 3);
        CHECK(got.find("\twarn\ttest\trepeated 1 times\twhat=\"a\"\n") != std::string::npos);
        CHECK(got.find("\twarn\ttest\thandshake failed\ti=0\n") != std::string::npos);
        CHECK(got.find("\twarn\ttest\tbare\n") != std::string::npos);
    }
}
