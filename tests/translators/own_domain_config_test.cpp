// A configuration that the operator gives instead of a derived one.
#include <cstdint>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/translators/xen_plan_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;

namespace {

constexpr std::uint64_t mib = 1u << 20;

TEST_CASE_FIXTURE(XenPlanFixture, "a configuration of the operator's own") {
    const auto derived = plan().config;
    options = {};
    options.domain_config = derived;
    options.name = "other";
    options.tsc_khz = 1'000'000;
    SUBCASE("fits") {
        const PlannedConfig config(plan());
        CHECK_FALSE(audit.refused());
        CHECK(config.at("/c_info/name") == "other");
        CHECK(config.at("/disks/0/pdev_path") == "/dev/vg/web1");
    }
    SUBCASE("without facts") {
        facts.reset();
        CHECK(error().format == "--set accel");
        options.accel = Accel::kvm;
        (void)this->plan();
        CHECK(finding("cpu-policy") == "nothing says which CPU the guest saw, as there is no --source-qmp");
        options.allow = {"cpu-policy"};
        const auto plan = this->plan();
        CHECK_FALSE(audit.refused());
        CHECK(plan.accel == Accel::kvm);
        CHECK(plan.vcpus == 2);
        CHECK(plan.vga_vmsd == "cirrus_vga");
        CHECK(plan.vga_slot.device == 2);
        CHECK(plan.vram_bytes == 8 * mib);
        CHECK(plan.ram_bytes == 112 * mib);
    }
    SUBCASE("says how the TSC is kept, if --set does not") {
        auto json = nlohmann::json::parse(derived);
        json["b_info"]["tsc_mode"] = "native";
        options.domain_config = json.dump();
        CHECK(plan().tsc_mode == TscMode::never_emulate);
        options.tsc_mode = TscMode::always_emulate;
        CHECK(plan().tsc_mode == TscMode::always_emulate);
        options.tsc_mode.reset();
        json["b_info"]["tsc_mode"] = "native_paravirt";
        options.domain_config = json.dump();
        (void)plan();
        CHECK(audit.refused());
    }
    SUBCASE("does not say that the guest may read registers that Xen does not have") {
        auto json = nlohmann::json::parse(derived);
        json["b_info"]["arch_x86"].erase("msr_relaxed");
        options.domain_config = json.dump();
        CHECK(PlannedConfig(plan()).at("/b_info/arch_x86/msr_relaxed") == "True");
        CHECK_FALSE(audit.refused());
        json["b_info"]["arch_x86"]["msr_relaxed"] = "False";
        options.domain_config = json.dump();
        (void)plan();
        CHECK(finding("domain-config") ==
              "msr_relaxed is off; the guest reads registers that Xen then refuses");
    }
    SUBCASE("describes another guest") {
        auto json = nlohmann::json::parse(derived);
        json["b_info"]["max_memkb"] = 100 << 10;
        json["b_info"]["max_vcpus"] = 3;
        json["b_info"]["type.hvm"]["xen_platform_pci"] = "True";
        options.domain_config = json.dump();
        (void)plan();
        std::string all;
        for (const auto& found : audit.findings())
            if (found.rule == "domain-config") all += found.text + "\n";
        CHECK(all ==
              "max_vcpus is 3, the guest has 2 vCPUs\n"
              "xen_platform_pci is on; the guest does not have that device\n"
              "max_memkb − video_memkb is 94208 KiB, the guest has 114688 KiB of RAM (in whole MiB: "
              "114688)\n");
        CHECK(audit.refused());
    }
}

}  // namespace
