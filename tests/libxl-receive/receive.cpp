// The helper's part of the handshake, against a source that the test plays, with a maker that only writes
// down what it is asked for.
#include "tools/libxl-receive/receive.hpp"

#include <array>
#include <csignal>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "parsers/wire/bytes.hpp"
#include "parsers/xen/handshake.hpp"
#include "parsers/xen/xl_header.hpp"
#include "proxy/descriptor.hpp"
#include "tests/error_text.hpp"
#include "tools/libxl-receive/stop_pipe.hpp"

using namespace vmferry;
using namespace vmferry::libxl_receive;
using namespace vmferry::test;
using namespace std::string_literals;

namespace {

const std::string stream = "LibxlFmt and so on";
const std::string config = R"({"c_info": {"name": "g1"}})";
const std::string banner(xen::banner), ready(xen::ready), permission(xen::go), give_back(xen::go);

std::string report(std::uint8_t code) {
    return std::string(xen::report) + static_cast<char>(code);
}

struct Header {
    std::string magic{xen::xl_magic};
    std::uint32_t byteorder = 0x01020304, mandatory = 3, optional = 0;
    std::optional<std::uint32_t> data_length, config_length;
    std::string text = config + '\0', further;

    [[nodiscard]] std::string bytes() const {
        Buffer out;
        append(out, magic);
        append_le(out, byteorder);
        append_le(out, mandatory);
        append_le(out, optional);
        append_le(out, data_length.value_or(static_cast<std::uint32_t>(4 + text.size() + further.size())));
        append_le(out, config_length.value_or(static_cast<std::uint32_t>(text.size())));
        append(out, text + further);
        return std::string(as_text(out));
    }
};

/// What it was asked for, one word each.
class FakeMaker final : public DomainMaker {
  public:
    std::string calls, config_seen, stream_seen;
    std::optional<Error> expect_fails, create_fails, destroy_fails;
    std::optional<StartFailure> start_fails;
    std::function<void()> in_create = [] {}, in_start = [] {};

    Result<void> expect(const std::string& text) override {
        calls += "expect ";
        config_seen = text;
        if (expect_fails) return std::unexpected(*expect_fails);
        return {};
    }
    Result<void> create(int input) override {
        calls += "create ";
        for (char c = 0; stream_seen.size() < stream.size() && read(input, &c, 1) == 1;) stream_seen += c;
        in_create();
        if (create_fails) return std::unexpected(*create_fails);
        return {};
    }
    std::expected<void, StartFailure> start() override {
        calls += "start ";
        in_start();
        if (start_fails) return std::unexpected(*start_fails);
        return {};
    }
    Result<void> destroy() override {
        calls += "destroy ";
        if (destroy_fails) return std::unexpected(*destroy_fails);
        return {};
    }
};

Error some_error(std::string text) {
    return environment_error("libxl", "doing it", std::move(text)).error();
}

std::pair<Descriptor, Descriptor> socket_pair() {
    std::array<int, 2> ends{};
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    return {Descriptor(ends[0]), Descriptor(ends[1])};
}

/// receive() in a thread; the source's side is played by the test.
struct Fixture {
    FakeMaker maker;
    Descriptor to, from;  ///< the source's
    Descriptor input, output, stop, stopper;
    std::thread thread;
    Result<void> result;

    Fixture() {
        (void)std::signal(SIGPIPE, SIG_IGN);
        std::tie(to, input) = socket_pair();
        std::tie(from, output) = socket_pair();
        std::tie(stopper, stop) = socket_pair();
    }
    ~Fixture() { end(); }
    void begin() {
        thread = std::thread([this] {
            result = receive({input.get(), output.get(), stop.get()}, maker);
            output.reset();
        });
    }
    void send(const std::string& bytes) const {
        REQUIRE(write(to.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    }
    /// Exactly what comes next, `size` bytes of it.
    [[nodiscard]] std::string take(std::size_t size) const {
        std::string text;
        pollfd one{from.get(), POLLIN, 0};
        char c = 0;
        while (text.size() < size && poll(&one, 1, 10'000) == 1 && read(from.get(), &c, 1) == 1) text += c;
        return text;
    }
    void stop_it() const { REQUIRE(write(stopper.get(), "x", 1) == 1); }
    void end() {
        to.reset();
        if (thread.joinable()) thread.join();
    }
    /// All that it still says, when it has ended.
    std::string rest() {
        end();
        return take(1000);
    }
    void loaded(const Header& header = {}) {
        begin();
        CHECK(take(banner.size()) == banner);
        send(header.bytes() + stream);
        REQUIRE(take(ready.size()) == ready);
    }
};

TEST_CASE_FIXTURE(Fixture, "the whole handshake") {
    Header header;
    SUBCASE("as xl writes it") {}
    SUBCASE("optional flags and further data are ignored, as xl does") {
        header.optional = 0x80;
        header.further = "more";
    }
    loaded(header);
    CHECK(maker.calls == "expect create ");
    CHECK(maker.config_seen == config);
    CHECK(maker.stream_seen == stream);
    send(permission);
    CHECK(rest() == report(0));
    CHECK_MESSAGE(result.has_value(), error_text(result));
    CHECK(maker.calls == "expect create start ");
}

TEST_CASE_FIXTURE(Fixture, "bytes that come one by one, and an output that does not block") {
    REQUIRE(fcntl(output.get(), F_SETFL, O_NONBLOCK) == 0);
    REQUIRE(fcntl(input.get(), F_SETFL, O_NONBLOCK) == 0);
    maker.in_create = [this] { REQUIRE(fcntl(input.get(), F_SETFL, O_NONBLOCK) == 0); };
    begin();
    CHECK(take(banner.size()) == banner);
    for (const char c : Header().bytes()) send({c});
    REQUIRE(fcntl(input.get(), F_SETFL, 0) == 0);  // libxl reads it blocking
    send(stream);
    REQUIRE(take(ready.size()) == ready);
    for (const char c : permission) send({c});
    CHECK(rest() == report(0));
    CHECK_MESSAGE(result.has_value(), error_text(result));
}

TEST_CASE("the header is cut anywhere: nothing is created, nothing said") {
    const auto whole = Header().bytes();
    for (std::size_t at = 0; at < whole.size(); ++at) {
        CAPTURE(at);
        Fixture one;
        one.begin();
        one.send(whole.substr(0, at));
        CHECK(one.rest() == banner);
        REQUIRE(!one.result);
        CHECK(one.result.error().kind == ErrorKind::stream);
        CHECK(one.result.error().found == "the end of the stream");
        CHECK(one.result.error().offset == at);
        CHECK(one.maker.calls.empty());
    }
}

TEST_CASE_FIXTURE(Fixture, "a header that is not xl's is refused by the name of its field") {
    Header header;
    std::string field, found;
    SUBCASE("a shell that says hello") {
        header.magic = "Welcome to xenhost, please log in";
        field = "magic";
        found = "other bytes";
    }
    SUBCASE("big-endian") {
        header.byteorder = 0x04030201;
        field = "byteorder";
        found = "big-endian";
    }
    SUBCASE("a mandatory flag of a newer xl") {
        header.mandatory = 7;
        field = "mandatory_flags";
        found = "0x7";
    }
    SUBCASE("a configuration that is not JSON") {
        header.mandatory = 2;
        field = "mandatory_flags";
        found = "0x2";
    }
    SUBCASE("a legacy stream") {
        header.mandatory = 1;
        field = "mandatory_flags";
        found = "0x1";
    }
    SUBCASE("no configuration") {
        header.data_length = 0;
        field = "optional_data_len";
        found = "0";
    }
    SUBCASE("more than anybody writes") {
        header.data_length = 0xFFFFFFFF;
        field = "optional_data_len";
        found = "4294967295";
    }
    SUBCASE("a configuration longer than what is there") {
        header.config_length = 1000;
        field = "config length";
        found = "1000";
    }
    SUBCASE("no NUL behind it") {
        header.text = config;
        field = "config";
        found = "0x7d";
    }
    begin();
    send(header.bytes());
    CHECK(rest() == banner);
    REQUIRE(!result);
    CHECK(result.error().kind == ErrorKind::stream);
    CHECK(result.error().field == field);
    CHECK(result.error().found == found);
    CHECK(maker.calls.empty());
}

TEST_CASE_FIXTURE(Fixture, "what is refused or fails before ready is not talked about") {
    std::string calls;
    SUBCASE("the configuration, or its name") {
        maker.expect_fails = some_error("no");
        calls = "expect ";
    }
    SUBCASE("the domain") {
        maker.create_fails = some_error("no");
        calls = "expect create ";
    }
    begin();
    send(Header().bytes() + stream);
    CHECK(rest() == banner);
    REQUIRE(!result);
    CHECK(result.error().found == "no");
    CHECK(maker.calls == calls);
}

TEST_CASE_FIXTURE(Fixture, "ready cannot be said: the copy is destroyed") {
    maker.in_create = [this] { from.reset(); };
    std::string more;
    SUBCASE("and is gone") {}
    SUBCASE("or is not") {
        maker.destroy_fails = some_error("it stays");
        more = "; our copy is not certainly gone: libxl doing it: it stays";
    }
    begin();
    send(Header().bytes() + stream);
    end();
    REQUIRE(!result);
    CHECK(result.error().kind == ErrorKind::environment);
    CHECK(result.error().found == errno_text(EPIPE) + more);
    CHECK(maker.calls == "expect create destroy ");
}

TEST_CASE("the permission is cut anywhere: report, destroyed, given back") {
    for (std::size_t at = 0; at < permission.size(); ++at) {
        CAPTURE(at);
        Fixture one;
        one.loaded();
        one.send(permission.substr(0, at));
        CHECK(one.rest() == report(0xFF) + give_back);
        REQUIRE(!one.result);
        CHECK(one.result.error().kind == ErrorKind::environment);
        CHECK(one.result.error().found == fmt::format("the end after {} of 44 bytes", at));
        CHECK(one.maker.calls == "expect create destroy ");
    }
}

TEST_CASE("any wrong byte is no permission") {
    for (std::size_t at = 0; at < permission.size(); ++at) {
        CAPTURE(at);
        Fixture one;
        one.loaded();
        auto wrong = permission;
        wrong[at] ^= 0x20;
        one.send(wrong);
        CHECK(one.rest() == report(0xFF) + give_back);
        REQUIRE(!one.result);
        CHECK(one.result.error().found == "other bytes");
        CHECK(one.maker.calls == "expect create destroy ");
    }
}

TEST_CASE_FIXTURE(Fixture, "no permission, and nobody to tell: the copy stays, paused") {
    loaded();
    from.reset();
    end();
    REQUIRE(!result);
    CHECK(result.error().kind == ErrorKind::in_doubt);
    CHECK(result.error().found ==
          "the end after 0 of 44 bytes; nor could the source be told: " + errno_text(EPIPE));
    CHECK(maker.calls == "expect create ");
}

TEST_CASE_FIXTURE(Fixture, "the domain cannot be started") {
    maker.start_fails = StartFailure{3, some_error("no")};
    loaded();
    SUBCASE("destroyed, given back") {
        send(permission);
        CHECK(rest() == report(3) + give_back);
        REQUIRE(!result);
        CHECK(result.error().kind == ErrorKind::environment);
    }
    SUBCASE("nor destroyed: not given back") {
        maker.destroy_fails = some_error("it stays");
        send(permission);
        CHECK(rest() == report(3));
        REQUIRE(!result);
        CHECK(result.error().kind == ErrorKind::in_doubt);
        CHECK(result.error().found == "no; our copy is not certainly gone: libxl doing it: it stays");
    }
    CHECK(maker.calls == "expect create start destroy ");
}

TEST_CASE_FIXTURE(Fixture, "the report cannot be delivered: the guest runs") {
    maker.in_start = [this] { from.reset(); };
    loaded();
    send(permission);
    end();
    REQUIRE(!result);
    CHECK(result.error().kind == ErrorKind::in_doubt);
    CHECK(result.error().hint.starts_with("the guest runs here"));
    CHECK(maker.calls == "expect create start ");
}

TEST_CASE_FIXTURE(Fixture, "asked to end") {
    SUBCASE("while the header is awaited") {
        begin();
        send(Header().bytes().substr(0, 20));
        stop_it();
        thread.join();
        CHECK(rest() == banner);
        CHECK(maker.calls.empty());
    }
    SUBCASE("when the domain is complete, before ready") {
        maker.in_create = [this] { stop_it(); };
        begin();
        send(Header().bytes() + stream);
        thread.join();
        CHECK(rest() == banner);
        CHECK(maker.calls == "expect create destroy ");
    }
    SUBCASE("while the permission is awaited") {
        loaded();
        stop_it();
        thread.join();
        CHECK(rest() == report(0xFF) + give_back);
        CHECK(maker.calls == "expect create destroy ");
    }
    SUBCASE("... in the middle of it") {
        loaded();
        send(permission.substr(0, 43));
        stop_it();
        thread.join();
        CHECK(rest() == report(0xFF) + give_back);
        CHECK(maker.calls == "expect create destroy ");
    }
    REQUIRE(!result);
    CHECK(result.error().found == "asked to end by a signal");
}

TEST_CASE_FIXTURE(Fixture, "asked to end after the permission: the handover goes on") {
    maker.in_start = [this] { stop_it(); };
    loaded();
    send(permission);
    CHECK(rest() == report(0));
    CHECK_MESSAGE(result.has_value(), error_text(result));
    CHECK(maker.calls == "expect create start ");
}

TEST_CASE("a signal makes the pipe readable") {
    const auto stop = StopPipe::create();
    REQUIRE_MESSAGE(stop.has_value(), error_text(stop));
    pollfd one{stop->get(), POLLIN, 0};
    for (const int number : {SIGTERM, SIGHUP, SIGINT}) {
        CAPTURE(number);
        CHECK(poll(&one, 1, 0) == 0);
        REQUIRE(raise(number) == 0);
        CHECK(poll(&one, 1, 0) == 1);
        char byte = 0;
        CHECK(read(stop->get(), &byte, 1) == 1);
    }
    StopPipe::back_to_default();
}

}  // namespace
