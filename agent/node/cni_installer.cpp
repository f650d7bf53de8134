// SPDX-License-Identifier: Apache-2.0
#include "agent/node/cni_installer.h"

#include "agent/cni/json_bounds.h"
#include "agent/cni/node_state.h"
#include "agent/node/cni_conflist.h"
#include "base/log.h"
#include "base/small_file.h"

#include <dirent.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

namespace warren::node {

namespace {

using namespace std::chrono_literals;

const base::log::Area kArea("cni");

constexpr size_t kMaxConf = size_t{4} << 20, kMaxBinary = size_t{64} << 20;
constexpr auto kSettle = 50ms;    // a package manager writes several files
constexpr auto kLook = 30s;       // for what inotify cannot see
constexpr auto kAgain = 1s;       // after a failure
constexpr auto kUnderFight = 5s;  // contract 1.5: at most one repair in five seconds, where another component keeps undoing ours
constexpr uint64_t kFight = 8;    // repairs in a minute
constexpr const char* kSaved = ".warren-saved";  // no extension that a runtime reads

bool has_suffix(const std::string& name, const char* suffix) { return name.ends_with(suffix); }
bool is_list(const std::string& name) { return has_suffix(name, ".conflist"); }
bool is_single(const std::string& name) { return has_suffix(name, ".conf") || has_suffix(name, ".json"); }

base::Result<std::vector<std::string>> names_in(const std::string& folder) {
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(folder.c_str()), ::closedir);
    if (!dir) return base::os_error("opendir", folder);
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(dir.get())) names.emplace_back(entry->d_name);
    std::sort(names.begin(), names.end());
    return names;
}

unsigned mode_of(const std::string& path) {
    struct stat s{};
    return ::stat(path.c_str(), &s) == 0 ? s.st_mode & 07777u : 0600u;
}

// Of an agent that died while it wrote.
void remove_leftovers(const std::string& folder, const std::string& prefix) {
    const auto names = names_in(folder);
    if (!names) return;
    const std::string living = ".tmp." + std::to_string(::getpid());
    for (const std::string& name : *names) {
        const bool ours = name.starts_with(prefix) && name.find(".tmp.") != std::string::npos;
        if (ours && !name.ends_with(living)) (void)::unlink(std::string(folder).append("/").append(name).c_str());
    }
}

std::string element_of(const CniInstallSettings& s) {
    return cni::write_json(
        cni::Json{{"type", s.plugin_name}, {"socket", s.socket}, {"state", s.state}, {"deadlineMs", s.deadline.count()}});
}

base::Result<bool> install_binary(const CniInstallSettings& s) {
    const std::string to = s.bin_dir + "/" + s.plugin_name;
    const std::string wanted = TRY(base::read_small_file(s.binary, kMaxBinary));
    if (wanted.empty()) return base::invalid(s.binary + " is empty");
    const auto there = base::read_small_file(to, kMaxBinary);
    if (there && *there == wanted && mode_of(to) == 0755) return false;
    remove_leftovers(s.bin_dir, s.plugin_name);
    TRY(cni::write_whole(to, wanted, 0755));
    return true;
}

struct Primary {
    std::string name, text, list;  // list: what it is as a list
};

// The first configuration in the runtime's order that it could use.
base::Result<Primary> primary(const CniInstallSettings& s) {
    for (const std::string& name : TRY(names_in(s.conf_dir))) {
        if (!is_list(name) && !is_single(name)) continue;
        if (!s.conf_name.empty() && name != s.conf_name && name != s.conf_name + "list") continue;
        auto text = base::read_small_file(s.conf_dir + "/" + name, kMaxConf);
        if (!text) continue;
        auto list = is_list(name) ? conflist_without(*text, s.plugin_name) : conflist_of_single(*text);
        if (list) return Primary{name, *std::move(text), *std::move(list)};
    }
    return base::Error{
        base::Errc::NotFound, 0, "install the CNI plugin",
        "no usable configuration " + (s.conf_name.empty() ? std::string() : s.conf_name + " ") + "in " + s.conf_dir + " yet"};
}

std::string stem(const std::string& name) { return name.substr(0, name.rfind('.')); }

base::Result<bool> put_back_single(const CniInstallSettings& s, const std::string& saved) {
    const std::string single = saved.substr(0, saved.size() - std::string_view(kSaved).size());
    const std::string list = s.conf_dir + "/" + stem(single) + ".conflist";
    // Back before the list goes: no moment without a configuration. One that was written meanwhile counts more than ours.
    struct stat there{};
    if (::stat((s.conf_dir + "/" + single).c_str(), &there) == 0) {
        (void)::unlink((s.conf_dir + "/" + saved).c_str());
    } else if (::rename((s.conf_dir + "/" + saved).c_str(), (s.conf_dir + "/" + single).c_str()) != 0) {
        return base::os_error("rename", s.conf_dir + "/" + saved);
    }
    const auto text = base::read_small_file(list, kMaxConf);
    if (text && conflist_has(*text, s.plugin_name) && ::unlink(list.c_str()) != 0) return base::os_error("unlink", list);
    return true;
}

base::Result<void> clean_list(const CniInstallSettings& s, const std::string& name) {
    const std::string path = s.conf_dir + "/" + name;
    const std::string text = TRY(base::read_small_file(path, kMaxConf));
    if (!conflist_has(text, s.plugin_name)) return {};
    auto without = conflist_without(text, s.plugin_name);
    if (!without) return std::move(without).error().with(path);
    return cni::write_whole(path, *without, mode_of(path));
}

}  // namespace

base::Result<CniInstalled> install_cni(const CniInstallSettings& s) {
    CniInstalled done;
    done.changed = TRY(install_binary(s));
    const Primary first = TRY(primary(s));
    const bool single = is_single(first.name);
    done.conf = s.conf_dir + "/" + (single ? stem(first.name) + ".conflist" : first.name);
    auto wanted = conflist_with(single ? first.list : first.text, element_of(s));
    if (!wanted) return std::move(wanted).error().with(done.conf);
    if (!single && *wanted == first.text) return done;
    const std::string old = s.conf_dir + "/" + first.name;
    remove_leftovers(s.conf_dir, stem(first.name));
    TRY(cni::write_whole(done.conf, *wanted, mode_of(old)));
    // The runtime takes the single one as long as it is there, the list from then on.
    if (single && ::rename(old.c_str(), (old + kSaved).c_str()) != 0) return base::os_error("rename", old);
    done.changed = true;
    return done;
}

base::Result<void> uninstall_cni(const CniInstallSettings& s) {
    std::optional<base::Error> failed;
    // Goes on after a failure; the first is told.
    const auto each_file = [&](auto step) {
        auto names = names_in(s.conf_dir);
        if (!names) {
            if (names.error().os != ENOENT && !failed) failed = std::move(names).error();
            return;
        }
        for (const std::string& name : *names)
            if (auto done = step(name); !done && !failed) failed = std::move(done).error();
    };
    each_file([&](const std::string& name) -> base::Result<void> {
        if (has_suffix(name, kSaved)) TRY(put_back_single(s, name));
        return {};
    });
    each_file([&](const std::string& name) { return is_list(name) ? clean_list(s, name) : base::Result<void>(); });
    // A list that still names the plugin needs it.
    if (failed) return *std::move(failed);
    const std::string binary = s.bin_dir + "/" + s.plugin_name;
    remove_leftovers(s.bin_dir, s.plugin_name);
    if (::unlink(binary.c_str()) != 0 && errno != ENOENT) return base::os_error("unlink", binary);
    return {};
}

CniInstaller::CniInstaller(CniInstallSettings settings, base::Fd inotify, base::Fd wake)
    : settings_(std::move(settings)), inotify_(std::move(inotify)), wake_(std::move(wake)) {}

base::Result<std::unique_ptr<CniInstaller>> CniInstaller::start(CniInstallSettings settings) {
    base::Fd inotify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!inotify) return base::os_error("inotify_init1");
    base::Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake) return base::os_error("eventfd");
    std::unique_ptr<CniInstaller> made(new CniInstaller(std::move(settings), std::move(inotify), std::move(wake)));
    made->thread_ = std::thread([installer = made.get()] { installer->run(); });
    return made;
}

CniInstaller::~CniInstaller() {
    const uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
    if (thread_.joinable()) thread_.join();
}

CniInstaller::Status CniInstaller::status() const {
    const std::lock_guard lock(mutex_);
    return status_;
}

// Adding a watch that is there changes nothing, so it is done before each look: folders may come later, or be made anew.
bool CniInstaller::watch() {
    constexpr uint32_t kEvents = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB;
    const bool conf = ::inotify_add_watch(inotify_.get(), settings_.conf_dir.c_str(), kEvents) >= 0;
    return ::inotify_add_watch(inotify_.get(), settings_.bin_dir.c_str(), kEvents) >= 0 && conf;
}

// False: the end. Swallows the events that are there.
bool CniInstaller::wait(std::chrono::milliseconds limit) {
    std::array<pollfd, 2> fds{pollfd{wake_.get(), POLLIN, 0}, pollfd{inotify_.get(), POLLIN, 0}};
    (void)::poll(fds.data(), fds.size(), static_cast<int>(limit.count()));
    if (fds[0].revents != 0) return false;
    std::array<char, 8192> unread{};
    while (::read(inotify_.get(), unread.data(), unread.size()) > 0) {
    }
    return true;
}

void CniInstaller::step() {
    auto done = install_cni(settings_);
    const std::lock_guard lock(mutex_);
    if (!done) {
        const std::string error = done.error().message();
        ++status_.failures;
        if (error != status_.error) WARREN_LOG(kArea, base::log::Level::Warn, "the CNI plugin is not installed", {"why", error});
        status_.installed = false;
        status_.error = error;
        return;
    }
    if (done->changed) {
        ++status_.installs;
        WARREN_LOG(kArea, base::log::Level::Info, "the CNI plugin is installed", {"configuration", done->conf},
                   {"times", status_.installs});
    }
    status_.installed = true;
    status_.conf = done->conf;
    status_.error.clear();
}

void CniInstaller::run() {
    auto minute = std::chrono::steady_clock::now();
    uint64_t installs_then = 0;
    for (;;) {
        const bool watched = watch();
        step();
        const Status now = status();
        if (std::chrono::steady_clock::now() - minute > 1min) {
            minute = std::chrono::steady_clock::now();
            installs_then = now.installs;
        }
        if (!wait(watched && now.installed ? std::chrono::milliseconds(kLook) : std::chrono::milliseconds(kAgain))) return;
        // Until nothing more comes, for a bounded time: our own writes end up here too.
        const auto pause = now.installs - installs_then > kFight ? std::chrono::milliseconds(kUnderFight) : kSettle;
        const auto until = std::chrono::steady_clock::now() + pause;
        for (auto left = pause; left > 0ms; left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()))
            if (!wait(left)) return;
    }
}

}  // namespace warren::node
