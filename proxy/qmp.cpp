#include "proxy/qmp.hpp"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <sys/un.h>

namespace vmferry {

using nlohmann::json;

namespace {

constexpr std::uint64_t retry_ms = 5;
constexpr std::uint64_t knock_ms = 1000;
constexpr int max_knocks = 2;

struct Pending {
    std::string command;
    std::uint64_t deadline = 0;  ///< of uv_now
    std::uint64_t limit = 0;
    QmpClient::Reply reply;
};

/// What a write keeps alive until libuv is done with it.
struct WriteRequest {
    uv_write_t request{};
    std::string text;
};

}  // namespace

struct QmpClient::Impl {
    enum class State { idle, connecting, greeting, negotiating, ready, closed };

    uv_loop_t* loop;
    std::string name;
    std::string path;
    State state = State::idle;
    uv_pipe_t* pipe = nullptr;  ///< closed by libuv; its data is null once we have let it go
    uv_timer_t* timer = nullptr;
    std::uint64_t connect_deadline = 0, connect_limit = 0;
    std::uint64_t next_knock = 0;
    int knocks = 0, connect_error = 0;
    Reply connected;
    json greeting;
    std::string input;
    std::size_t scanned = 0;
    std::vector<char> chunk = std::vector<char>(65536);
    std::uint64_t next_id = 1;
    std::map<std::uint64_t, Pending> pending;
    EventHandler event_handler;
    CloseHandler close_handler;

    Impl(uv_loop_t* l, std::string n) : loop(l), name(std::move(n)) {
        timer = new uv_timer_t;
        uv_timer_init(loop, timer);
        timer->data = this;
    }
    ~Impl() {
        drop_pipe();
        timer->data = nullptr;
        uv_close(reinterpret_cast<uv_handle_t*>(timer),
                 [](uv_handle_t* handle) { delete reinterpret_cast<uv_timer_t*>(handle); });
    }

    void drop_pipe() {
        if (pipe == nullptr) return;
        pipe->data = nullptr;
        uv_close(reinterpret_cast<uv_handle_t*>(pipe),
                 [](uv_handle_t* handle) { delete reinterpret_cast<uv_pipe_t*>(handle); });
        pipe = nullptr;
    }

    [[nodiscard]] Error error(std::string doing, std::string found) const {
        return {ErrorKind::environment, name, std::move(doing), {}, 0, std::move(found), {}};
    }

    void try_connect() {
        drop_pipe();
        pipe = new uv_pipe_t;
        uv_pipe_init(loop, pipe, 0);
        pipe->data = this;
        auto* request = new uv_connect_t;
        uv_pipe_connect(request, pipe, path.c_str(), [](uv_connect_t* done, int status) {
            auto* self = static_cast<Impl*>(done->handle->data);
            delete done;
            if (self != nullptr) self->connect_done(status);
        });
    }

    /// While QEMU starts, two of its threads may see one and the same connection at its listening socket; the
    /// one that comes late then waits in accept() for another, and with it all commands (seen with 7.2, once
    /// in some thousand starts). So a peer that leaves us waiting gets another, which is closed at once.
    void knock() {
        ++knocks;
        next_knock = uv_now(loop) + knock_ms;
        auto* other = new uv_pipe_t;
        uv_pipe_init(loop, other, 0);
        uv_pipe_connect(new uv_connect_t, other, path.c_str(), [](uv_connect_t* done, int) {
            uv_close(reinterpret_cast<uv_handle_t*>(done->handle),
                     [](uv_handle_t* handle) { delete reinterpret_cast<uv_pipe_t*>(handle); });
            delete done;
        });
    }
    [[nodiscard]] bool may_knock() const {
        return (state == State::greeting || state == State::negotiating) && knocks < max_knocks;
    }

    void connect_done(int status) {
        if (state != State::connecting) return;
        if (status < 0) {
            connect_error = status;
            drop_pipe();
            arm_timer();
            return;
        }
        state = State::greeting;
        next_knock = uv_now(loop) + knock_ms;
        uv_read_start(
            reinterpret_cast<uv_stream_t*>(pipe),
            [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
                auto* self = static_cast<Impl*>(handle->data);
                *buffer = self == nullptr
                              ? uv_buf_init(nullptr, 0)
                              : uv_buf_init(self->chunk.data(), static_cast<unsigned>(self->chunk.size()));
            },
            [](uv_stream_t* stream, ssize_t count, const uv_buf_t*) {
                if (auto* self = static_cast<Impl*>(stream->data)) self->arrived(count);
            });
        arm_timer();
    }

    void arrived(ssize_t count) {
        if (count < 0) {
            fail(count == UV_EOF ? "the connection was closed"
                                 : std::string("read failed: ") + uv_strerror(static_cast<int>(count)));
            return;
        }
        input.append(chunk.data(), static_cast<std::size_t>(count));
        std::size_t begin = 0;
        for (;;) {
            const auto end = input.find('\n', std::max(scanned, begin));
            if (end == std::string::npos) break;
            const auto message =
                json::parse(input.begin() + static_cast<std::ptrdiff_t>(begin),
                            input.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
            begin = end + 1;
            if (message.is_discarded() || !message.is_object()) {
                fail("an answer that is not a JSON object");
                return;
            }
            take(message);
            if (state == State::closed) return;
        }
        input.erase(0, begin);
        scanned = input.size();
        if (input.size() > max_line) fail(fmt::format("an answer longer than {} bytes", max_line));
    }

    void take(const json& message) {
        if (state == State::greeting) {
            if (!message.contains("QMP")) {
                fail("no QMP greeting");
                return;
            }
            greeting = message["QMP"];
            state = State::negotiating;
            send("qmp_capabilities", nullptr, remaining(), [this](const Result<json>& reply) {
                if (reply) state = State::ready;
                finish_connect(reply ? Result<json>(greeting) : std::unexpected(reply.error()));
            });
            return;
        }
        if (message.contains("event")) {
            const auto& event = message["event"];
            if (event_handler && event.is_string())
                event_handler(event.get_ref<const std::string&>(), message.value("data", json::object()));
            return;
        }
        const auto id = message.find("id");
        const auto found = id != message.end() && id->is_number_unsigned()
                               ? pending.find(id->get<std::uint64_t>())
                               : pending.end();
        if (found == pending.end()) return;  // the answer to a command whose time had run out
        auto entry = std::move(found->second);
        pending.erase(found);
        arm_timer();
        if (message.contains("return")) {
            entry.reply(message["return"]);
            return;
        }
        auto refusal = error("QMP " + entry.command, "an answer without return");
        if (const auto failure = message.find("error"); failure != message.end() && failure->is_object()) {
            refusal.field = failure->value("class", "GenericError");
            refusal.found = failure->value("desc", failure->dump());
        }
        entry.reply(std::unexpected(std::move(refusal)));
    }

    [[nodiscard]] std::uint64_t remaining() const {
        const auto now = uv_now(loop);
        return connect_deadline > now ? connect_deadline - now : 0;
    }

    void send(std::string_view command, const json& arguments, std::uint64_t limit, Reply reply) {
        const auto id = next_id++;
        json message = {{"execute", command}, {"id", id}};
        if (!arguments.is_null()) message["arguments"] = arguments;
        auto* write = new WriteRequest;
        write->text = message.dump(-1, ' ', true, json::error_handler_t::replace) + "\n";
        write->request.data = write;
        pending[id] = {std::string(command), uv_now(loop) + limit, limit, std::move(reply)};
        const auto buffer = uv_buf_init(write->text.data(), static_cast<unsigned>(write->text.size()));
        // A failed write shows as a closed connection in the reader, which ends the pending commands.
        const int status =
            uv_write(&write->request, reinterpret_cast<uv_stream_t*>(pipe), &buffer, 1,
                     [](uv_write_t* done, int) { delete static_cast<WriteRequest*>(done->data); });
        if (status < 0) delete write;
        arm_timer();
    }

    void arm_timer() {
        if (state == State::connecting) {
            uv_timer_start(timer, on_timer, retry_ms, 0);
            return;
        }
        auto nearest = state == State::greeting ? connect_deadline : ~std::uint64_t{0};
        for (const auto& [id, entry] : pending) nearest = std::min(nearest, entry.deadline);
        if (may_knock()) nearest = std::min(nearest, next_knock);
        if (nearest == ~std::uint64_t{0}) {
            uv_timer_stop(timer);
            return;
        }
        const auto now = uv_now(loop);
        uv_timer_start(timer, on_timer, nearest > now ? nearest - now : 0, 0);
    }

    static void on_timer(uv_timer_t* handle) {
        if (auto* self = static_cast<Impl*>(handle->data)) self->expired();
    }

    void expired() {
        const auto now = uv_now(loop);
        if (may_knock() && now >= next_knock) knock();
        if (state == State::connecting || state == State::greeting) {
            if (now < connect_deadline) {
                if (state == State::connecting && pipe == nullptr) try_connect();
                arm_timer();
                return;
            }
            fail(state == State::greeting
                     ? fmt::format("no greeting within {} ms", connect_limit)
                     : fmt::format("{} within {} ms", uv_strerror(connect_error), connect_limit));
            return;
        }
        std::vector<Pending> late;
        for (auto entry = pending.begin(); entry != pending.end();) {
            if (entry->second.deadline > now) {
                ++entry;
                continue;
            }
            late.push_back(std::move(entry->second));
            entry = pending.erase(entry);
        }
        arm_timer();
        for (auto& entry : late)
            entry.reply(std::unexpected(
                error("QMP " + entry.command, fmt::format("no answer within {} ms", entry.limit))));
    }

    void finish_connect(Result<json> result) {
        if (auto reply = std::exchange(connected, nullptr)) reply(std::move(result));
    }

    /// The connection is over: everybody who waits learns it.
    void fail(const std::string& found) {
        const bool was_ready = state == State::ready;
        state = State::closed;
        drop_pipe();
        uv_timer_stop(timer);
        const auto late = std::exchange(pending, {});
        for (const auto& [id, entry] : late)
            entry.reply(std::unexpected(error("QMP " + entry.command, found)));
        finish_connect(std::unexpected(error("QMP greeting at " + path, found)));
        if (was_ready && close_handler) std::exchange(close_handler, nullptr)(error("QMP", found));
    }
};

QmpClient::QmpClient(uv_loop_t* loop, std::string name)
    : impl_(std::make_unique<Impl>(loop, std::move(name))) {}
QmpClient::~QmpClient() = default;

void QmpClient::connect(const std::string& path, Milliseconds limit, Reply reply) {
    impl_->path = path;
    impl_->connected = std::move(reply);
    uv_update_time(impl_->loop);
    impl_->connect_limit = static_cast<std::uint64_t>(limit.count());
    impl_->connect_deadline = uv_now(impl_->loop) + impl_->connect_limit;
    impl_->state = Impl::State::connecting;
    if (path.size() >= sizeof(sockaddr_un::sun_path)) {  // libuv would cut it
        impl_->fail("the path is too long for a unix socket");
        return;
    }
    impl_->try_connect();
    impl_->arm_timer();
}

void QmpClient::execute(std::string_view command, const json& arguments, Milliseconds limit, Reply reply) {
    if (!ready()) {
        reply(std::unexpected(impl_->error("QMP " + std::string(command), "no connection")));
        return;
    }
    uv_update_time(impl_->loop);
    impl_->send(command, arguments, static_cast<std::uint64_t>(limit.count()), std::move(reply));
}

void QmpClient::on_event(EventHandler handler) {
    impl_->event_handler = std::move(handler);
}
void QmpClient::on_close(CloseHandler handler) {
    impl_->close_handler = std::move(handler);
}
bool QmpClient::ready() const {
    return impl_->state == Impl::State::ready;
}
pid_t QmpClient::peer_pid() const {
    uv_os_fd_t descriptor = -1;
    ucred peer{};
    socklen_t size = sizeof peer;
    if (impl_->pipe == nullptr || uv_fileno(reinterpret_cast<uv_handle_t*>(impl_->pipe), &descriptor) != 0 ||
        getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return -1;
    return peer.pid;
}
void QmpClient::close() {
    impl_->close_handler = nullptr;
    if (impl_->state != Impl::State::idle && impl_->state != Impl::State::closed)
        impl_->fail("the connection was given up");
}

}  // namespace vmferry
