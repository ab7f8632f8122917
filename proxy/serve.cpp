#include "proxy/serve.hpp"

#include <algorithm>
#include <list>
#include <mutex>
#include <thread>

#include <sys/socket.h>

#include "proxy/tcp.hpp"

namespace vmferry {
namespace {

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
            set_tcp_options(socket);
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
    SocketAddress bound;
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
        SocketAddress peer;
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
