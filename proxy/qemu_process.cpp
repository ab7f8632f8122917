#include "proxy/qemu_process.hpp"

#include <array>
#include <csignal>
#include <fstream>
#include <mutex>

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

namespace vmferry {
namespace {

// Between fork and exec only async-signal-safe calls are allowed: other threads may hold locks.

/// Ignored and blocked signals are inherited through exec; QEMU shall find the defaults.
void default_signals() {
    for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, nullptr);
}

struct ChildDescriptors {
    int input, output, log, armed, status;
};

/// Leaves 0 … 2 as QEMU shall have them, and armed and status as 3 and 4 until exec. All others go at once:
/// a copy of the pipe of another start that goes on at the same time would keep that one's child waiting
/// for ever when vmferry dies.
void place_descriptors(const ChildDescriptors& given) {
    constexpr int places = 5;
    int moved[places] = {given.input, given.output, given.log, given.armed, given.status};
    for (int& descriptor : moved) descriptor = fcntl(descriptor, F_DUPFD, places);
    for (int place = 0; place < places; ++place) dup3(moved[place], place, place < 3 ? 0 : O_CLOEXEC);
    syscall(SYS_close_range, static_cast<unsigned>(places), ~0u, 0u);
}

[[noreturn]] void run_child(const ChildDescriptors& given, const char* binary, char* const* arguments) {
    constexpr int armed = 3, status = 4;
    setsid();
    default_signals();
    place_descriptors(given);
    char byte = 0;
    // Not before the guardian stands; if vmferry dies first, this is the end of the pipe.
    if (read(armed, &byte, 1) != 1) _exit(127);
    execvp(binary, arguments);
    const int error = errno;
    [[maybe_unused]] const auto told = write(status, &error, sizeof error);
    _exit(127);
}

struct Ward {
    pid_t pid;
    int pidfd;
    bool group;
    int patience_ms;
};

[[noreturn]] void run_guardian(int leash, const Ward& ward) {
    setsid();
    // Away from whatever the terminal or a service manager sends to all: its job begins when others end.
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ::signal(number, SIG_IGN);
    prctl(PR_SET_NAME, "vmferry-guard");
    const int low_leash = fcntl(leash, F_DUPFD, 3), low_pidfd = fcntl(ward.pidfd, F_DUPFD, 3);
    dup2(low_leash, 0);
    dup2(low_pidfd, 1);
    syscall(SYS_close_range, 2u, ~0u, 0u);
    char byte = 0;
    ssize_t count = 0;
    do count = read(0, &byte, 1);
    while (count < 0 && errno == EINTR);
    if (count == 1) _exit(0);
    pollfd end{1, POLLIN, 0};
    if (poll(&end, 1, ward.patience_ms) == 1) _exit(0);
    // It has not ended, so the number is its own still.
    if (ward.group) kill(-ward.pid, SIGKILL);
    syscall(SYS_pidfd_send_signal, 1, SIGKILL, nullptr, 0);
    _exit(0);
}

struct Pipe {
    Descriptor read, write;
    bool open() {
        std::array<int, 2> ends{};
        if (pipe2(ends.data(), O_CLOEXEC) != 0) return false;
        read = Descriptor(ends[0]);
        write = Descriptor(ends[1]);
        return true;
    }
};

/// Released children whose object is gone; they are still ours to wait for.
struct Released {
    std::mutex mutex;
    std::vector<pid_t> pids;
};
Released& released_children() {
    static Released children;
    return children;
}

std::string status_text(int status) {
    if (WIFSIGNALED(status)) return fmt::format("was killed by signal {}", WTERMSIG(status));
    return fmt::format("ended with status {}", WEXITSTATUS(status));
}

}  // namespace

Result<std::unique_ptr<QemuProcess>> QemuProcess::start(Loop& loop, ProcessStart what) {
    std::unique_ptr<QemuProcess> self(new QemuProcess(loop, std::move(what)));
    const auto failure = [&](const char* doing) {
        return environment_error(self->what_.component, fmt::format("starting {}", self->what_.binary),
                                 fmt::format("{}: {}", doing, errno_text(errno)));
    };
    const Descriptor null(open("/dev/null", O_RDONLY | O_CLOEXEC));
    const Descriptor log(open(self->what_.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (!null.valid() || !log.valid()) return failure(self->what_.log.c_str());
    Pipe armed, status, leash;
    if (!armed.open() || !status.open() || !leash.open()) return failure("pipe");

    std::vector<char*> arguments{self->what_.binary.data()};
    for (auto& argument : self->what_.arguments) arguments.push_back(argument.data());
    arguments.push_back(nullptr);

    self->pid_ = fork();
    if (self->pid_ < 0) return failure("fork");
    if (self->pid_ == 0) {
        close(armed.write.get());  // or the child would wait for itself
        const int input = self->what_.input, output = self->what_.output;
        run_child({input < 0 ? null.get() : input, output < 0 ? log.get() : output, log.get(),
                   armed.read.get(), status.write.get()},
                  self->what_.binary.c_str(), arguments.data());
    }
    self->pidfd_ = Descriptor(static_cast<int>(syscall(SYS_pidfd_open, self->pid_, 0)));
    if (!self->pidfd_.valid()) return failure("pidfd_open");
    self->guardian_ = fork();
    if (self->guardian_ == 0)
        run_guardian(leash.read.get(), {self->pid_, self->pidfd_.get(), self->what_.group,
                                        static_cast<int>(self->what_.patience.count())});
    if (self->guardian_ < 0) return failure("fork of the guardian");
    self->leash_ = std::move(leash.write);
    if (write(armed.write.get(), "", 1) != 1) return failure("start");

    status.write.reset();
    int exec_error = 0;
    if (read(status.read.get(), &exec_error, sizeof exec_error) == sizeof exec_error) {
        errno = exec_error;
        return failure("exec");
    }
    self->watch();
    return self;
}

void QemuProcess::watch() {
    watcher_.reset(new uv_poll_t);
    uv_poll_init(loop_.uv(), watcher_.get(), pidfd_.get());
    watcher_->data = this;
    uv_poll_start(watcher_.get(), UV_READABLE, [](uv_poll_t* handle, int, int) {
        if (auto* self = static_cast<QemuProcess*>(handle->data)) {
            self->reap();
            if (self->exited_ && self->alarm_on_exit_) self->loop_.raise(self->exit_error("process"));
        }
    });
}

void QemuProcess::send_signal(int number) const {
    if (what_.group)
        ::kill(-pid_, number);
    else if (pidfd_.valid())
        syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0);
    else
        ::kill(pid_, number);
}

void QemuProcess::reap() {
    int status = 0;
    siginfo_t info{};
    if (exited_ || waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid != pid_)
        return;
    // Before it is reaped, while the number of its group can be nobody else's.
    if (what_.group) send_signal(SIGKILL);
    if (waitpid(pid_, &status, WNOHANG) != pid_) return;
    exited_ = true;
    exit_status_ = status;
    watcher_.reset();
}

QemuProcess::~QemuProcess() {
    if (pid_ > 0 && !exited_ && !released_) {
        send_signal(SIGKILL);
        int status = 0;
        while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
    }
    if (released_ && !exited_) {
        const std::scoped_lock lock(released_children().mutex);
        released_children().pids.push_back(pid_);
    }
    leash_.reset();
    if (guardian_ > 0)
        while (waitpid(guardian_, nullptr, 0) < 0 && errno == EINTR) {
        }
}

Error QemuProcess::exit_error(std::string doing) const {
    std::string found = exited_ ? status_text(exit_status_) : "is still there";
    if (const auto tail = log_tail(); !tail.empty()) found += "; it said: " + tail;
    return {ErrorKind::environment, what_.component, std::move(doing), {}, 0, std::move(found), {}};
}

std::string QemuProcess::log_tail(std::size_t bytes) const {
    std::ifstream file(what_.log, std::ios::binary | std::ios::ate);
    if (!file) return {};
    const auto size = static_cast<std::size_t>(file.tellg());
    const auto begin = size > bytes ? size - bytes : 0;
    file.seekg(static_cast<std::streamoff>(begin));
    std::string text(size - begin, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (begin > 0)  // begins with a whole line
        if (const auto line = text.find('\n'); line != std::string::npos) text.erase(0, line + 1);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
}

Result<void> QemuProcess::release() {
    if (released_) return {};
    if (write(leash_.get(), "r", 1) != 1)
        return environment_error(what_.component, "releasing it from its guardian", errno_text(errno));
    while (waitpid(guardian_, nullptr, 0) < 0 && errno == EINTR) {
    }
    guardian_ = -1;
    leash_.reset();
    released_ = true;
    return {};
}

void QemuProcess::reap_released() {
    const std::scoped_lock lock(released_children().mutex);
    std::erase_if(released_children().pids, [](pid_t pid) { return waitpid(pid, nullptr, WNOHANG) != 0; });
}

bool QemuProcess::signal_and_wait(int number, std::chrono::milliseconds limit) {
    const Loop::Shield shield(loop_);
    alarm_on_exit_ = false;
    if (!exited_) send_signal(number);
    return loop_.wait({what_.component, "its end", limit}, [this] { return exited_; }).has_value();
}

Result<void> QemuProcess::kill(std::chrono::milliseconds limit) {
    if (signal_and_wait(SIGKILL, limit)) return {};
    return environment_error(what_.component, "ending it", fmt::format("process {} is still there", pid_));
}

Result<void> QemuProcess::terminate(std::chrono::milliseconds patience, std::chrono::milliseconds limit) {
    if (signal_and_wait(SIGTERM, patience)) return {};
    return kill(limit);
}

}  // namespace vmferry
