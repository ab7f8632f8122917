// The configurations that a plan derives, read by the real libxl: it runs without Xen, as reading JSON asks
// neither the hypervisor nor xenstore. What libxl writes again must be what was written.
#include "translators/domain_config.hpp"

#include <cstdlib>
#include <set>
#include <string>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

// Xen's headers do not say themselves that they are C.
extern "C" {
#include <libxl.h>
#include <libxl_utils.h>
#include <xentoollog.h>
}

#include "tests/translators/xen_plan_fixture.hpp"

// libxl opens both when it starts; nothing asks them anything here. The program's symbols go before those of
// the libraries.
extern "C" {
struct xc_interface_core;
struct xs_handle;
xc_interface_core* xc_interface_open(xentoollog_logger*, xentoollog_logger*, unsigned) {
    return reinterpret_cast<xc_interface_core*>(1);
}
int xc_interface_close(xc_interface_core*) {
    return 0;
}
xs_handle* xs_open(unsigned long) {
    return reinterpret_cast<xs_handle*>(1);
}
void xs_close(xs_handle*) {}
void xs_daemon_close(xs_handle*) {}
}

using namespace vmferry;
using namespace vmferry::test;
using nlohmann::json;

namespace {

constexpr std::uint64_t mib = 1u << 20, gib = 1u << 30;

/// What libxl makes of the text, in its own words.
json through_libxl(const std::string& text) {
    auto* log = xtl_createlogger_stdiostream(stderr, XTL_ERROR, 0);
    libxl_ctx* context = nullptr;
    REQUIRE(libxl_ctx_alloc(&context, LIBXL_VERSION, 0, reinterpret_cast<xentoollog_logger*>(log)) == 0);
    libxl_domain_config config;
    libxl_domain_config_init(&config);
    const int rc = libxl_domain_config_from_json(context, &config, text.c_str());
    char* again = rc == 0 ? libxl_domain_config_to_json(context, &config) : nullptr;
    const std::string result = again == nullptr ? "" : again;
    std::free(again);
    libxl_domain_config_dispose(&config);
    libxl_ctx_free(context);
    xtl_logger_destroy(reinterpret_cast<xentoollog_logger*>(log));
    REQUIRE(rc == 0);
    return json::parse(result);
}

/// The members that libxl does not say again, or not as they were: it leaves out what is its default.
std::set<std::string> lost(const json& ours, const json& theirs) {
    std::set<std::string> all;
    const auto flat = ours.flatten(), again = theirs.flatten();
    for (const auto& [path, value] : flat.items())
        if (!again.contains(path) || again[path] != value) all.insert(path);
    return all;
}

std::string joined(const std::set<std::string>& all) {
    std::string text;
    for (const auto& one : all) text += one + "\n";
    return text;
}

void check(const XenPlan& plan, const std::set<std::string>& defaults) {
    const auto theirs = through_libxl(plan.config);
    CHECK(joined(lost(json::parse(plan.config), theirs)) == joined(defaults));
    const auto read = read_domain_config(theirs.dump(), 0);
    REQUIRE(read);
    CHECK(read->name == plan.name);
    CHECK((read->max_memkb - read->video_memkb) * 1024 == plan.ram_bytes);
}

TEST_CASE_FIXTURE(XenPlanFixture, "libxl reads the configuration of a plain guest") {
    check(plan(), {});
}

TEST_CASE_FIXTURE(XenPlanFixture, "libxl reads the configuration of a guest with everything") {
    facts->vga_slot = {9, 0};
    source.blocks[3].idstr = "0000:00:09.0/vga.vram";
    source.blocks[0].used_length = facts->ram_bytes = 5 * gib;
    facts->low_ram_end = 3 * gib;
    facts->usb_uhci = facts->usb_tablet = true;
    facts->serial_ports = 2;
    options.serial = {"pty", "file:/var/log/x"};
    options.tsc_mode = TscMode::never_emulate;
    options.nics["0"].script = "vif-route";
    facts->disks.push_back({.model = "ide-cd", .id = "", .file = "", .ide_index = 2, .slot = {}});
    facts->disks.push_back({.model = "ide-cd", .id = "", .file = "", .ide_index = 3, .slot = {}});
    options.disks["hdd"] = {.path = "/srv/x.iso"};
    facts->disks.push_back({.model = "virtio-blk-pci", .id = "", .file = "/x", .slot = {6, 0}, .bytes = mib});
    options.disks["vda"] = {.path = "/dev/vg/a", .format = "raw", .backend = "phy"};
    const auto plan = this->plan();
    CHECK_FALSE(audit.refused());
    // A CD-ROM's drive is not writable by default.
    check(plan, {"/disks/1/readwrite", "/disks/2/readwrite"});
}

}  // namespace
