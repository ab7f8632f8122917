#include "translators/audit.hpp"

#include <algorithm>
#include <cctype>
#include <set>

#include <doctest/doctest.h>

#include "tests/translators/plan_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;

TEST_CASE("audit: every rule has one name, a meaning and a remedy") {
    std::set<std::string_view> names;
    for (const auto& rule : all_rules()) {
        CAPTURE(rule.name);
        CHECK(names.insert(rule.name).second);
        CHECK(std::ranges::all_of(rule.name, [](char c) {
            return std::islower(static_cast<unsigned char>(c)) != 0 ||
                   std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '-';
        }));
        CHECK(rule.meaning.ends_with('.'));
        CHECK(rule.remedy.ends_with('.'));
        CHECK(find_rule(rule.name) == &rule);
    }
    CHECK(names.size() > 30);
    CHECK(find_rule("no-such-rule") == nullptr);
}

TEST_CASE("audit: only a risk can be accepted") {
    AuditReport report({"nested-hvm", "viridian", "no-such-rule"});
    report.carried("memory", "all of it");
    report.adapted("serial", "leads nowhere");
    report.violated("nested-hvm", "set");
    CHECK_FALSE(report.refused());
    report.violated("viridian", "set");  // impossible: no option helps
    CHECK(report.refused());
    REQUIRE(report.findings().size() == 4);
    CHECK(report.findings()[0].verdict == Verdict::carried);
    CHECK(report.findings()[1].verdict == Verdict::adapted);
    CHECK(report.findings()[2].verdict == Verdict::allowed);
    CHECK(report.findings()[3].verdict == Verdict::refused);

    AuditReport other({"no-such-rule"});
    other.violated("no-such-rule", "a rule without an entry");
    CHECK(other.refused());
}

TEST_CASE("audit: the error names each refusal, its remedy, and the option only where there is one") {
    AuditReport report;
    report.violated("pv-domain", "the domain is of type pv");
    report.violated("tcg-cpu", "no KVM here");
    const auto error = report.error();
    CHECK(error.kind == ErrorKind::refused);
    CHECK(error.record == "pv-domain, tcg-cpu");
    const auto text = error.text();
    const auto has = [&](std::string_view part) { return text.find(part) != std::string::npos; };
    CHECK(has("because of 2 things"));
    CHECK(has("\n  pv-domain: the domain is of type pv"));
    CHECK(has("\n  tcg-cpu: no KVM here"));
    CHECK(has(find_rule("pv-domain")->remedy));
    CHECK(has(find_rule("tcg-cpu")->remedy));
    CHECK(has("--allow tcg-cpu"));
    CHECK_FALSE(has("--allow pv-domain"));
}

TEST_CASE("audit: what the configuration alone tells") {
    const auto refused = [](std::string_view rule, auto change) {
        CAPTURE(rule);
        PlanCase guest;
        change(guest.config);
        REQUIRE(guest.make());
        CHECK(guest.refused(rule));
        CHECK(guest.audit.error().text().find(rule) != std::string::npos);
    };
    refused("pv-domain", [](DomainConfig& c) { c.type = "pv"; });
    refused("pvh-domain", [](DomainConfig& c) { c.type = "pvh"; });
    refused("ovmf-firmware", [](DomainConfig& c) { c.bios = "ovmf"; });
    refused("rombios", [](DomainConfig& c) { c.bios = "rombios"; });
    refused("qemu-traditional", [](DomainConfig& c) { c.device_model = "qemu_xen_traditional"; });
    refused("stub-domain", [](DomainConfig& c) { c.stubdomain = true; });
    refused("acpi-off", [](DomainConfig& c) { c.acpi = false; });
    refused("viridian", [](DomainConfig& c) { c.viridian = true; });
    refused("nested-hvm", [](DomainConfig& c) { c.nested_hvm = true; });
    refused("xen-platform-device", [](DomainConfig& c) { c.xen_platform_pci = true; });
    refused("vendor-device", [](DomainConfig& c) { c.vendor_device = true; });
    refused("spice", [](DomainConfig& c) { c.spice = true; });
    refused("sound", [](DomainConfig& c) { c.soundhw = {"hda"}; });
    refused("raw-device-model-arguments", [](DomainConfig& c) { c.extra_hvm = {"-device", "x"}; });
    refused("pci-passthrough", [](DomainConfig& c) { c.other_devices = {"pcidevs"}; });
    refused("pci-passthrough", [](DomainConfig& c) { c.other_devices = {"dtdevs"}; });
    refused("pci-passthrough", [](DomainConfig& c) { c.gfx_passthru = true; });
    refused("vtpm", [](DomainConfig& c) { c.other_devices = {"vtpms"}; });
    refused("usb-controllers", [](DomainConfig& c) { c.other_devices = {"usbctrls"}; });
}

TEST_CASE("audit: all findings at once, and lists of paravirtual devices do not refuse") {
    PlanCase guest;
    guest.config.viridian = true;
    guest.config.nics[0].model = "pcnet";
    guest.options.disks.clear();
    guest.config.other_devices = {"vkbs", "channels"};
    REQUIRE(guest.make());
    CHECK(guest.refused("viridian"));
    CHECK(guest.refused("nic-model"));
    CHECK(guest.refused("unmapped-disk"));
    CHECK(guest.audit.error().text().find("because of 3 things") != std::string::npos);
}
