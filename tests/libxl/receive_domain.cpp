// How vmferry-libxl-receive makes its domain: the real libxl reads the configuration; whatever would ask Xen
// is answered by the test, which writes down what it was asked for.
#include <array>
#include <cstdlib>
#include <map>
#include <string>

#include <doctest/doctest.h>
#include <unistd.h>

#include "proxy/descriptor.hpp"
#include "tests/error_text.hpp"
#include "tools/libxl-receive/libxl_domain.hpp"

using namespace vmferry;
using namespace vmferry::libxl_receive;
using namespace vmferry::test;

namespace {

constexpr std::uint32_t new_domain = 7;

/// Xen, as the fakes below find it.
struct Host {
    std::string calls;
    std::map<std::string, std::uint32_t> names;
    int begin_code = 0;         ///< what the restore says at once
    int end_code = 0;           ///< … and what in the end
    bool endless = false;       ///< it ends only when it is given up
    bool leaves_domain = true;  ///< its domain is there at the end
    int rename_code = 0, unpause_code = 0, destroy_code = 0;

    std::uint32_t* id = nullptr;  ///< of the restore that runs
    libxl_asyncop_how how{};
    bool complete = false;
};
Host host;

}  // namespace

extern "C" {
int libxl_name_to_domid(libxl_ctx*, const char* name, std::uint32_t* id) {
    const auto at = host.names.find(name);
    if (at == host.names.end()) return ERROR_INVAL;
    *id = at->second;
    return 0;
}
const libxl_version_info* libxl_get_version_info(libxl_ctx*) {
    static std::array<char, sizeof "placeholder dom0_mem=1024M"> line{"placeholder dom0_mem=1024M"};
    static libxl_version_info info{};
    info.commandline = line.data();
    return &info;
}
int libxl_domain_create_restore(libxl_ctx*, libxl_domain_config* config, std::uint32_t* id, int input,
                                int back, const libxl_domain_restore_params* parameters,
                                const libxl_asyncop_how* how, const libxl_asyncprogress_how*) {
    host.calls += fmt::format("restore {} from {} ", config->c_info.name, input);
    CHECK(back == -1);
    CHECK(parameters->stream_version == 2);
    CHECK(parameters->checkpointed_stream == LIBXL_CHECKPOINTED_STREAM_NONE);
    host.id = id;
    host.how = *how;
    return host.begin_code;
}
int libxl_osevent_beforepoll(libxl_ctx*, int* count, pollfd*, int* milliseconds, timeval) {
    *count = 0;
    if (!host.endless) *milliseconds = 0;
    return 0;
}
void libxl_osevent_afterpoll(libxl_ctx*, int, const pollfd*, timeval) {
    if (!host.endless) host.complete = true;
}
int libxl_ao_abort(libxl_ctx*, const libxl_asyncop_how* how) {
    CHECK(how->u.for_event == host.how.u.for_event);
    host.calls += "abort ";
    host.end_code = ERROR_ABORTED;
    host.complete = true;
    return 0;
}
int libxl_event_check(libxl_ctx*, libxl_event** event, std::uint64_t, libxl_event_predicate*, void*) {
    if (!host.complete) return ERROR_NOT_READY;
    host.complete = false;
    *host.id = host.leaves_domain ? new_domain : INVALID_DOMID;
    *event = static_cast<libxl_event*>(std::calloc(1, sizeof(libxl_event)));
    (*event)->type = LIBXL_EVENT_TYPE_OPERATION_COMPLETE;
    (*event)->for_user = host.how.u.for_event;
    (*event)->u.operation_complete.rc = host.end_code;
    return 0;
}
void libxl_event_free(libxl_ctx*, libxl_event* event) {
    std::free(event);
}
int libxl_domain_rename(libxl_ctx*, std::uint32_t id, const char* from, const char* to) {
    host.calls += fmt::format("rename {} {} {} ", id, from, to);
    return host.rename_code;
}
int libxl_domain_unpause(libxl_ctx*, std::uint32_t id, const libxl_asyncop_how*) {
    host.calls += fmt::format("unpause {} ", id);
    return host.unpause_code;
}
int libxl_domain_destroy(libxl_ctx*, std::uint32_t id, const libxl_asyncop_how*) {
    host.calls += fmt::format("destroy {} ", id);
    return host.destroy_code;
}
}

namespace {

constexpr const char* config = R"({
    "c_info": {"type": "hvm", "name": "g1", "uuid": "301b538b-d9cf-49a9-8705-8643a15dfa4a"},
    "b_info": {"max_vcpus": 1, "max_memkb": 131072, "type.hvm": {}}
})";
constexpr int input = 42;

struct Fixture {
    Context context = std::move(*Context::create(XTL_CRITICAL));
    std::array<int, 2> stop{};
    LibxlDomain domain = made({.watch = false});

    Fixture() { host = {}; }
    ~Fixture() {
        for (const int fd : stop) close(fd);
    }
    LibxlDomain made(const DomainOptions& options) {
        REQUIRE(pipe(stop.data()) == 0);
        return {context, options, stop[0]};
    }
    void created() {
        const auto expected = domain.expect(config);
        REQUIRE_MESSAGE(expected.has_value(), error_text(expected));
        const auto done = domain.create(input);
        REQUIRE_MESSAGE(done.has_value(), error_text(done));
        CHECK(host.calls == "restore g1--incoming from 42 ");
        host.calls.clear();
    }
};

TEST_CASE_FIXTURE(Fixture, "restored under another name, then renamed and run") {
    created();
    const auto started = domain.start();
    CHECK(started.has_value());
    CHECK(host.calls == "rename 7 g1--incoming g1 unpause 7 ");
}

TEST_CASE("the domain stays paused when that is asked for") {
    host = {};
    const auto context = Context::create(XTL_CRITICAL);
    REQUIRE(context.has_value());
    LibxlDomain domain(*context, {.unpause = false, .watch = false}, -1);
    REQUIRE(domain.expect(config));
    REQUIRE(domain.create(input));
    CHECK(domain.start().has_value());
    CHECK(host.calls == "restore g1--incoming from 42 rename 7 g1--incoming g1 ");
}

TEST_CASE_FIXTURE(Fixture, "a configuration that does not do is refused") {
    std::string text, found;
    SUBCASE("no JSON") {
        text = "{";
        found = "fail (error -3)";
    }
    SUBCASE("a value that this libxl does not know") {
        text = R"({"c_info": {"name": "g1", "type": "unheard-of"}})";
        found = "fail (error -3)";
    }
    SUBCASE("no name") {
        text = R"({"c_info": {"type": "hvm"}})";
        found = "no c_info.name";
    }
    const auto read = domain.expect(text);
    REQUIRE(!read);
    CHECK(read.error().kind == ErrorKind::stream);
    CHECK(read.error().found == found);
    CHECK(read.error().text().starts_with("xl header.config at offset 0x34: "));
    CHECK(host.calls.empty());
}

TEST_CASE_FIXTURE(Fixture, "a name that is taken is refused") {
    std::string name;
    SUBCASE("the guest's") {
        name = "g1";
    }
    SUBCASE("the copy's") {
        name = "g1--incoming";
    }
    host.names[name] = 3;
    const auto read = domain.expect(config);
    REQUIRE(!read);
    CHECK(read.error().kind == ErrorKind::refused);
    CHECK(read.error().found == "domain 3 is called " + name);
    CHECK(host.calls.empty());
}

TEST_CASE_FIXTURE(Fixture, "what libxl could not complete is gone") {
    std::string calls = "restore g1--incoming from 42 ", found = "fail (error -3)";
    SUBCASE("refused at once") {
        host.begin_code = ERROR_FAIL;
        host.leaves_domain = false;
    }
    SUBCASE("failed, and destroyed by libxl") {
        host.end_code = ERROR_FAIL;
        host.leaves_domain = false;
    }
    SUBCASE("failed, and still there") {
        host.end_code = ERROR_FAIL;
        calls += "destroy 7 ";
    }
    SUBCASE("given up") {
        host.endless = true;
        REQUIRE(write(stop[1], "x", 1) == 1);
        calls += "abort destroy 7 ";
        found = "asked to end by a signal";
    }
    SUBCASE("not gone, which is said") {
        host.end_code = ERROR_FAIL;
        host.destroy_code = ERROR_FAIL;
        calls += "destroy 7 ";
        found += "; libxl destroying domain 7: fail (error -3) (xl destroy g1--incoming)";
    }
    REQUIRE(domain.expect(config));
    const auto done = domain.create(input);
    REQUIRE(!done);
    CHECK(done.error().found == found);
    CHECK(host.calls == calls);
}

TEST_CASE_FIXTURE(Fixture, "libxl's code stands in the report") {
    std::string calls = "rename 7 g1--incoming g1 ";
    std::uint8_t code = 0;
    created();
    SUBCASE("no name") {
        host.rename_code = ERROR_INVAL;
        code = 6;
    }
    SUBCASE("it does not run") {
        host.unpause_code = ERROR_TIMEDOUT;
        calls += "unpause 7 ";
        code = 9;
    }
    const auto started = domain.start();
    REQUIRE(!started);
    CHECK(started.error().code == code);
    CHECK(host.calls == calls);
    CHECK(domain.destroy().has_value());
}

}  // namespace
