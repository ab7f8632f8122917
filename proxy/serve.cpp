#include "proxy/serve.hpp"

#include <algorithm>
#include <array>
#include <list>
#include <mutex>
#include <thread>

#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace vmferry {
namespace {

struct Address {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }

    [[nodiscard]] std::string text() {
        std::array<char, NI_MAXHOST> host{};
        std::array<char, NI_MAXSERV> port{};
        getnameinfo(get(), size, host.data(), host.size(), port.data(), port.size(),
                    NI_NUMERICHOST | NI_NUMERICSERV);
        const bool v6 = storage.ss_family == AF_INET6;
        return fmt::format("{}{}{}:{}", v6 ? "[" : "", host.data(), v6 ? "]" : "", port.data());
    }
    [[nodiscard]] std::uint16_t port() {
        std::array<char, NI_MAXSERV> text{};
        getnameinfo(get(), size, nullptr, 0, text.data(), text.size(), NI_NUMERICSERV);
        return static_cast<std::uint16_t>(std::strtoul(text.data(), nullptr, 10));
    }
};

Result<Descriptor> listen_tcp(const std::string& address, std::uint16_t port) {
    const auto failure = [&](const std::string& found) {
        return environment_error("listener", fmt::format("listening on {} port {}", address, port), found);
    };
    addrinfo hints{};
    hints.ai_flags = AI_NUMERICHOST | AI_PASSIVE | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int error = getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found);
        error != 0)
        return failure(gai_strerror(error));
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
    Descriptor socket(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int on = 1;
    if (!socket.valid() || setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(socket.get(), found->ai_addr, found->ai_addrlen) != 0 || listen(socket.get(), 64) != 0)
        return failure(errno_text(errno));
    return socket;
}

/// What accept says where the process or the system has no room for another connection (accept(2)).
bool out_of_resources(int error) {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/// A session in its thread. The owner joins it once `finished`, or after stop().
class Worker {
  public:
    Worker(Descriptor socket, std::string peer, const ServeOptions& options)
        : thread_([this, &options, peer = std::move(peer), held = std::move(socket)]() mutable {
              run(std::move(held), peer, options);
          }) {}
    ~Worker() { thread_.join(); }
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    void stop() {
        const std::scoped_lock lock(mutex_);
        stopped_ = true;
        if (loop_ != nullptr) loop_->stop("the server ends");
    }
    [[nodiscard]] bool finished() const { return finished_; }

  private:
    void run(Descriptor socket, const std::string& peer, const ServeOptions& options) {
        {
            Loop loop;
            set_loop(&loop);
            const int on = 1;
            setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            // A source that vanished without a word is noticed between the time-outs too.
            setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
            Channel channel(loop, peer, std::move(socket));
            XlEndpoint endpoint(channel, options.session.limits);
            Session session(loop, endpoint, options.session);
            if (options.connected) options.connected(peer);
            const auto report = session.run();
            set_loop(nullptr);
            if (options.over) options.over(peer, report);
        }
        finished_ = true;
    }
    void set_loop(Loop* loop) {
        const std::scoped_lock lock(mutex_);
        loop_ = loop;
        if (stopped_ && loop_ != nullptr) loop_->stop("the server ends");
    }

    std::mutex mutex_;
    Loop* loop_ = nullptr;
    bool stopped_ = false;
    std::atomic<bool> finished_ = false;
    std::thread thread_;
};

}  // namespace

Result<void> serve(Loop& loop, const ServeOptions& options) {
    VMFERRY_ASSIGN(const auto listener, listen_tcp(options.address, options.port));
    Address bound;
    if (getsockname(listener.get(), bound.get(), &bound.size) != 0)
        return environment_error("listener", "asking for its port", errno_text(errno));
    bool waiting = false;
    OwnedHandle<uv_poll_t> poll(new uv_poll_t);
    uv_poll_init(loop.uv(), poll.get(), listener.get());
    poll->data = &waiting;
    const auto watch = [&poll] {
        uv_poll_start(poll.get(), UV_READABLE, [](uv_poll_t* handle, int, int) {
            if (handle->data != nullptr) *static_cast<bool*>(handle->data) = true;
        });
    };
    watch();
    if (options.listening) options.listening(bound.port());

    std::list<Worker> workers;
    while (!loop.alarm()) {
        // The limit is no error here: from time to time the threads and processes that ended are cleared
        // away.
        (void)loop.wait({"listener", "a connection", std::chrono::seconds(1)},
                        [&waiting] { return waiting; });
        std::erase_if(workers, [](const Worker& worker) { return worker.finished(); });
        QemuProcess::reap_released();
        if (!std::exchange(waiting, false)) continue;
        Address peer;
        Descriptor socket(accept4(listener.get(), peer.get(), &peer.size, SOCK_CLOEXEC));
        if (!socket.valid() && out_of_resources(errno)) {
            // The connection stays in the queue and the listener readable: looking again at once would be a
            // busy loop until a session ends.
            uv_poll_stop(poll.get());
            (void)loop.wait({"listener", "a free descriptor", std::chrono::seconds(1)}, [] { return false; });
            watch();
            continue;
        }
        if (socket.valid() && workers.size() < options.max_sessions)
            workers.emplace_back(std::move(socket), peer.text(), options);
    }
    for (auto& worker : workers) worker.stop();
    return {};
}

}  // namespace vmferry
