#include "tests/translators/plan_fixture.hpp"

#include <algorithm>

#include <doctest/doctest.h>

#include "tests/error_text.hpp"

namespace vmferry::test {

std::string guest_json() {
    return R"({
    "c_info": {
        "type": "hvm",
        "name": "g2",
        "uuid": "3DB11E84-712c-4a51-99e4-347199d61911",
        "run_hotplug_scripts": "True"
    },
    "b_info": {
        "max_vcpus": 2,
        "avail_vcpus": [
            0,
            1
        ],
        "max_memkb": 98304,
        "target_memkb": 98304,
        "video_memkb": 8192,
        "sched_params": {
            "sched": "credit",
            "weight": 256,
            "cap": 0
        },
        "claim_mode": "True",
        "kernel": "/root/guest/vmlinuz",
        "cmdline": "console=ttyS0 nopv",
        "type.hvm": {
            "hpet": "False",
            "vga": {
                "kind": "cirrus"
            },
            "vnc": {
                "enable": "False"
            },
            "spice": {

            },
            "serial": "file:/root/guest/g2.log",
            "usb": "False",
            "xen_platform_pci": "False",
            "rdm": {

            }
        },
        "arch_arm": {

        },
        "arch_x86": {
            "msr_relaxed": "False"
        }
    },
    "disks": [
        {
            "pdev_path": "/root/guest/g2.disk",
            "vdev": "hda",
            "backend": "qdisk",
            "format": "raw",
            "readwrite": 1,
            "colo_restore_enable": "False"
        }
    ],
    "nics": [
        {
            "devid": 0,
            "model": "e1000",
            "mac": "00:16:3E:11:22:33",
            "bridge": "xenbr0",
            "nictype": "vif_ioemu"
        }
    ],
    "on_reboot": "restart",
    "on_crash": "preserve",
    "on_soft_reset": "soft_reset"
}
)";
}

std::string guest_json(const std::string& from, const std::string& to) {
    auto json = guest_json();
    const auto at = json.find(from);
    REQUIRE(at != std::string::npos);
    return json.replace(at, from.size(), to);
}

xen::CpuidPolicy guest_policy() {
    constexpr auto none = xen::CpuidLeaf::no_subleaf;
    return {{0, none, 0xd, 0x68747541, 0x444d4163, 0x69746e65},
            {1, none, 0x60fb1, 0x20800, 0xf6f83203, 0x1fcbfbfd},
            {7, 0, 0, 0x01880329, 0x204, 0},
            {0xd, 0, 7, 0, 0x340, 0},
            {0xd, 1, 5, 0, 0, 0},
            {0xd, 2, 0x100, 0x240, 0, 0},
            {0x40000000, none, 0, 0, 0, 0},
            {0x80000000, none, 0x80000021, 0x68747541, 0x444d4163, 0x69746e65},
            {0x80000001, none, 0x60fb1, 0, 0x71, 0xedd3fbfd},
            {0x80000008, none, 0x3028, 0x100000, 1, 0},
            {0x80000021, none, 4, 0, 0, 0}};
}

PlanCase::PlanCase() {
    auto read = read_domain_config(guest_json(), 0);
    REQUIRE(read.has_value());
    config = std::move(*read);
    options.accel = Accel::tcg;
    options.disks["hda"] = {.path = "/images/g2.disk", .format = "raw"};
    options.nics[0] = "user,net=192.168.77.0/24,host=192.168.77.1";
    options.serial = {"file:/tmp/serial.log"};
    facts.qemu_major = 7;
    facts.qemu_minor = 2;
    facts.machines = {"pc",         "pc-i440fx-7.2", "pc-i440fx-7.1", "pc-i440fx-6.2", "pc-i440fx-2.10",
                      "pc-q35-7.2", "isapc"};
    facts.image_bytes["hda"] = 16u << 20;
}

Result<Plan> PlanCase::make() {
    audit = AuditReport(options.allow);
    return make_plan(config, policy, xen_major, xen_minor, options, facts, audit);
}

Plan PlanCase::good() {
    auto plan = make();
    REQUIRE_MESSAGE(plan.has_value(), test::error_text(plan));
    REQUIRE_MESSAGE(!audit.refused(), (audit.refused() ? audit.error().text() : ""));
    return std::move(*plan);
}

bool PlanCase::refused(std::string_view rule) const {
    return std::ranges::any_of(audit.findings(), [&](const Finding& finding) {
        return finding.verdict == Verdict::refused && finding.rule == rule;
    });
}

std::string argument(const std::vector<std::string>& arguments, const std::string& option,
                     std::size_t which) {
    for (std::size_t i = 0; i + 1 < arguments.size(); ++i)
        if (arguments[i] == option && which-- == 0) return arguments[i + 1];
    return "";
}

}  // namespace vmferry::test
