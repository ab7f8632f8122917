// A session against a scripted source that plays the shipped capture, with the real QEMU as destination.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "parsers/wire/bytes.hpp"
#include "proxy/session.hpp"
#include "proxy/temporary_directory.hpp"

namespace vmferry::test {

/// What `xl migrate` sent, header to libxl's END, without the permission; unpacked once.
[[nodiscard]] const Buffer& recording();
/// The same with another name and uuid in its configuration (of equal length).
[[nodiscard]] Buffer recording_of(char name_digit, char uuid_digit);

/// xl's side of the connection, step by step, in a thread of its own. A step that fails ends no script; what
/// was seen is checked afterwards.
class ScriptedSource {
  public:
    using Script = std::function<void(ScriptedSource&)>;
    ScriptedSource(Descriptor socket, Script script);
    ~ScriptedSource() { join(); }
    void join() {
        if (thread_.joinable()) thread_.join();
    }

    bool expect(std::string_view message);  ///< reads exactly that
    bool send(Bytes bytes);
    bool send(std::string_view text) { return send(as_bytes(text)); }
    std::optional<int> read_byte();
    bool at_end();  ///< the other side has closed
    void close() { socket_.reset(); }
    /// banner and the whole recording
    bool stream();

    // What the script saw.
    bool ready = false, given_back = false;
    std::optional<int> report;

  private:
    Descriptor socket_;
    std::thread thread_;
};

struct SessionFixture {
    SessionFixture();

    /// Runs a session against this script. `source` keeps what it saw.
    SessionReport run(ScriptedSource::Script script);
    /// The whole handshake as xl does it.
    static void whole(ScriptedSource& source);

    [[nodiscard]] std::vector<SessionRecord> sessions() const { return list_sessions(state); }
    /// The state that QEMU itself tells ("paused", "running"); empty if it is not there.
    [[nodiscard]] std::string qemu_state(const std::string& qmp_socket);
    /// Nothing runs and nothing is claimed.
    [[nodiscard]] bool nothing_left(const SessionReport& report) const;
    static void end_process(long pid);

    Loop loop;
    TemporaryDirectory directory = std::move(*TemporaryDirectory::create());
    std::string state = directory.file("state");
    std::string image = directory.file("disk");
    DestinationOptions destination;
    SessionOptions options;
    std::unique_ptr<Session> session;
    std::unique_ptr<ScriptedSource> source;
};

}  // namespace vmferry::test
