#include <algorithm>

#include <doctest/doctest.h>

#include "tests/translators/plan_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;

namespace {

bool has_word(const std::vector<std::string>& words, const std::string& word) {
    return std::ranges::find(words, word) != words.end();
}

/// All values that follow `option`.
std::vector<std::string> arguments(const std::vector<std::string>& words, const std::string& option) {
    std::vector<std::string> all;
    for (std::size_t i = 0; i + 1 < words.size(); ++i)
        if (words[i] == option) all.push_back(words[i + 1]);
    return all;
}

bool has_finding(const AuditReport& audit, Verdict verdict, std::string_view rule) {
    return std::ranges::any_of(audit.findings(),
                               [&](const Finding& f) { return f.verdict == verdict && f.rule == rule; });
}

}  // namespace

TEST_CASE("plan: the recorded guest's machine") {
    PlanCase guest;
    const auto plan = guest.good();
    CHECK(plan.machine == "pc-i440fx-7.2");
    CHECK(plan.name == "g2");
    CHECK(plan.uuid == "3db11e84-712c-4a51-99e4-347199d61911");
    CHECK(plan.ram_bytes == (88u << 20));
    CHECK_FALSE(plan.hpet);
    CHECK(plan.vga_vmsd == "cirrus_vga");
    CHECK(plan.vga_slot.device == 2);
    CHECK(plan.vram_block == "0000:00:02.0/vga.vram");
    CHECK(plan.vram_bytes == (8u << 20));
    REQUIRE(plan.nics.size() == 1);
    CHECK(plan.nics[0].slot.device == 3);
    CHECK(plan.nics[0].mac == "00:16:3e:11:22:33");
    REQUIRE(plan.disks.size() == 1);
    CHECK(plan.disks[0].ide_index == 0);
    CHECK(plan.disks[0].bytes == (16u << 20));
    CHECK(plan.serial_ports == 1);
    CHECK(plan.acpi_block == "0000:00:1f.0/xfw");
    CHECK(plan.acpi_bytes == (32u << 20));
    CHECK(plan.reset_stub);
}

TEST_CASE("plan: the recorded guest's command line") {
    PlanCase guest;
    const auto plan = guest.good();
    const auto& words = plan.arguments;
    CHECK(argument(words, "-M") == "pc-i440fx-7.2,hpet=off,vmport=off");
    CHECK(argument(words, "-accel") == "tcg");
    CHECK(argument(words, "-m") == "90112K");
    CHECK(argument(words, "-smp") == "4,sockets=1,cores=2,threads=2");
    CHECK(argument(words, "-global") == "ioapic.version=17");
    CHECK(argument(words, "-serial") == "file:/tmp/serial.log");
    CHECK(argument(words, "-netdev") == "user,net=192.168.77.0/24,host=192.168.77.1,id=net0");
    CHECK(argument(words, "-drive") == "file=/images/g2.disk,format=raw,if=none,id=drive-0");
    CHECK(arguments(words, "-device") ==
          std::vector<std::string>{
              "cirrus-vga,addr=0x2,vgamem_mb=8", "e1000,id=nic0,netdev=net0,mac=00:16:3e:11:22:33,addr=0x3",
              "ide-hd,bus=ide.0,unit=0,drive=drive-0", "ivshmem-plain,memdev=xfw,master=on,addr=0x1f"});
    CHECK(has_word(words, "-nodefaults"));
    CHECK(has_word(words, "-no-user-config"));
}

TEST_CASE("plan: the twin has the same devices and touches nothing of the host") {
    PlanCase guest;
    guest.options.extra = {"-monitor", "tcp:127.0.0.1:1,server"};
    guest.options.display = "vnc=:1";
    const auto plan = guest.good();
    CHECK(arguments(plan.arguments, "-device") == arguments(plan.twin_arguments, "-device"));
    for (const auto* option : {"-M", "-cpu", "-smp", "-m", "-object", "-global", "-accel", "-uuid"})
        CHECK(arguments(plan.arguments, option) == arguments(plan.twin_arguments, option));
    CHECK(argument(plan.twin_arguments, "-drive") ==
          "driver=null-co,size=16777216,read-zeroes=on,if=none,id=drive-0");
    CHECK(argument(plan.twin_arguments, "-netdev") == "hubport,hubid=0,id=net0");
    CHECK(argument(plan.twin_arguments, "-serial") == "null");
    CHECK(argument(plan.twin_arguments, "-display") == "none");
    CHECK(argument(plan.arguments, "-display") == "vnc=:1");
    CHECK(argument(plan.arguments, "-monitor") == "tcp:127.0.0.1:1,server");
    CHECK_FALSE(has_word(plan.twin_arguments, "-monitor"));
}

TEST_CASE("plan: vCPUs, APIC ids and fillers") {
    PlanCase guest;
    for (const unsigned n : {1u, 2u, 3u, 8u, 127u}) {
        CAPTURE(n);
        guest.config.max_vcpus = n;
        guest.options.accel = Accel::tcg;
        const auto tcg = guest.good();
        REQUIRE(tcg.vcpu.size() == n);
        CHECK(tcg.vcpu.back().apic_id == 2 * (n - 1));
        CHECK(tcg.vcpu.back().cpu_instance == 2 * (n - 1));
        CHECK(tcg.fillers.size() == (n == 1 ? 0 : n));
        if (n > 1) CHECK(tcg.fillers.front().apic_id == 1);
        CHECK(argument(tcg.arguments, "-smp") ==
              (n == 1 ? "1" : fmt::format("{},sockets=1,cores={},threads=2", 2 * n, n)));

        guest.options.accel = Accel::kvm;
        const auto kvm = guest.good();
        CHECK(kvm.fillers.empty());
        CHECK(kvm.vcpu.back().apic_id == 2 * (n - 1));
        CHECK(argument(kvm.arguments, "-smp") ==
              (n == 1 ? "1" : fmt::format("1,sockets=1,cores={},threads=2,maxcpus={}", n, 2 * n)));
        CHECK(has_word(kvm.arguments,
                       fmt::format("host-x86_64-cpu,socket-id=0,core-id={},thread-id=0", n - 1)) == (n > 1));
        CHECK(argument(kvm.arguments, "-global").empty());
    }
    guest.config.max_vcpus = 128;
    REQUIRE(guest.make());
    CHECK(guest.refused("vcpu-count"));
}

TEST_CASE("plan: accelerator said, found or risked") {
    PlanCase guest;
    guest.options.accel.reset();
    guest.facts.kvm = true;
    CHECK(guest.good().accel == Accel::kvm);
    guest.facts.kvm = false;
    REQUIRE(guest.make());
    CHECK(guest.refused("tcg-cpu"));
    guest.options.allow = {"tcg-cpu"};
    CHECK(guest.good().accel == Accel::tcg);
}

TEST_CASE("plan: PCI slots follow libxl's order") {
    PlanCase guest;
    guest.config.nics.push_back({.devid = 3, .model = "rtl8139", .mac = "00:16:3e:00:00:03"});
    guest.options.nics[3] = "tap,ifname=t3";
    guest.config.vga = "none";
    guest.config.video_memkb = 0;
    const auto bare = guest.good();
    CHECK(bare.vga.empty());
    CHECK(bare.vram_block.empty());
    CHECK(bare.nics[0].slot.device == 2);
    CHECK(bare.nics[1].slot.device == 3);
    CHECK(bare.nics[1].vmsd == "rtl8139");

    guest.config.vga = "std";
    guest.config.video_memkb = 16384;
    guest.config.xen_platform_pci = true;
    guest.options.allow = {"xen-platform-device"};
    const auto platform = guest.good();
    CHECK(platform.vga == "VGA");
    CHECK(platform.vga_slot.device == 3);
    CHECK(platform.nics[1].slot.device == 5);
    CHECK(platform.vram_block == "0000:00:03.0/vga.vram");

    guest.options.allow.clear();
    REQUIRE(guest.make());
    CHECK(guest.refused("xen-platform-device"));
}

TEST_CASE("plan: more cards than slots") {
    PlanCase guest;
    guest.options.nics.clear();
    guest.options.allow = {"unmapped-nic"};
    guest.config.nics.clear();
    for (unsigned i = 0; i < 28; ++i)
        guest.config.nics.push_back({.devid = i, .model = "e1000", .mac = "00:16:3e:00:00:01"});
    CHECK(guest.good().acpi_slot.device == 0x1f);
    guest.config.nics.push_back({.devid = 28, .model = "e1000", .mac = "00:16:3e:00:00:01"});
    REQUIRE(guest.make());
    CHECK(guest.refused("nic-model"));  // none left for the firmware area
}

TEST_CASE("plan: display adapters and their memory") {
    PlanCase guest;
    guest.config.vga = "std";
    guest.config.video_memkb = 10u << 10;
    CHECK(guest.good().vram_bytes == (16u << 20));  // QEMU rounds up
    guest.config.vga = "cirrus";
    REQUIRE(guest.make());
    CHECK(guest.refused("video-memory"));
    guest.config.vga = "qxl";
    REQUIRE(guest.make());
    CHECK(guest.refused("vga-kind"));
    guest.config.vga = "std";
    guest.config.video_memkb = 1u << 20;
    guest.config.max_memkb = 2u << 20;
    REQUIRE(guest.make());
    CHECK(guest.refused("video-memory"));
}

TEST_CASE("plan: drives") {
    PlanCase guest;
    guest.options.disks["hda"] = {.path = "/a,b/disk", .format = "qcow2", .drive_options = "cache=none"};
    guest.config.disks.push_back({.vdev = "hdc", .format = "raw", .cdrom = true, .readwrite = false});
    guest.config.disks.push_back(
        {.vdev = "hdd", .format = "empty", .cdrom = true, .readwrite = false, .empty = true});
    guest.options.disks["hdc"] = {.path = "/cd.iso", .format = "raw", .drive_options = ""};
    guest.facts.image_bytes["hdc"] = 4096;
    auto plan = guest.good();
    CHECK(arguments(plan.arguments, "-drive") ==
          std::vector<std::string>{"file=/a,,b/disk,format=qcow2,if=none,id=drive-0,cache=none",
                                   "file=/cd.iso,format=raw,if=none,id=drive-2,readonly=on"});
    CHECK(has_word(plan.arguments, "ide-cd,bus=ide.1,unit=0,drive=drive-2"));
    CHECK(has_word(plan.arguments, "ide-cd,bus=ide.1,unit=1"));
    CHECK(arguments(plan.twin_arguments, "-drive")[1] ==
          "driver=null-co,size=4096,read-zeroes=on,if=none,id=drive-2,readonly=on");

    guest.options.disks["hdc"].path = "none";
    plan = guest.good();
    CHECK(has_word(plan.arguments, "ide-cd,bus=ide.1,unit=0"));
    CHECK(has_finding(guest.audit, Verdict::adapted, "disks"));
}

TEST_CASE("plan: drives that cannot be carried") {
    PlanCase guest;
    const auto with = [&](DomainDisk disk) {
        PlanCase other;
        other.config.disks.push_back(std::move(disk));
        REQUIRE(other.make());
        return other;
    };
    CHECK(with({.vdev = "hdb", .format = "raw"}).refused("unmapped-disk"));
    CHECK(with({.vdev = "sda", .format = "raw"}).refused("disk-type"));
    CHECK(with({.vdev = "xvda", .format = "raw"}).refused("disk-type"));  // the same place as hda
    CHECK(with({.vdev = "xvde", .format = "raw"}).refused("pv-disk"));
    CHECK(with({.vdev = "xvdb1", .format = "raw"}).refused("pv-disk"));
    CHECK(with({.vdev = "hdb", .format = "raw", .readwrite = false}).refused("disk-type"));
    CHECK(with({.vdev = "xvdb", .format = "raw"}).refused("unmapped-disk"));  // IDE, too
    guest.config.hdtype = "ahci";
    REQUIRE(guest.make());
    CHECK(guest.refused("disk-type"));
}

TEST_CASE("plan: cards that cannot be carried, or lead nowhere") {
    PlanCase guest;
    guest.options.nics.clear();
    REQUIRE(guest.make());
    CHECK(guest.refused("unmapped-nic"));
    guest.options.allow = {"unmapped-nic"};
    CHECK(argument(guest.good().arguments, "-netdev") == "hubport,hubid=0,id=net0");
    guest.config.nics[0].model = "ne2k_pci";
    REQUIRE(guest.make());
    CHECK(guest.refused("nic-model"));
    guest.config.nics[0].emulated = false;
    REQUIRE(guest.make());
    CHECK(guest.refused("pv-nic"));
}

TEST_CASE("plan: mappings that make no sense are the operator's error") {
    const auto kind = [](auto change) {
        PlanCase guest;
        change(guest);
        const auto plan = guest.make();
        REQUIRE_FALSE(plan.has_value());
        return plan.error().kind;
    };
    CHECK(kind([](PlanCase& g) { g.options.disks["hdb"].path = "/x"; }) == ErrorKind::usage);
    CHECK(kind([](PlanCase& g) { g.options.disks["hda"].path = "none"; }) == ErrorKind::usage);
    CHECK(kind([](PlanCase& g) { g.options.disks["hda"].path = ""; }) == ErrorKind::usage);
    CHECK(kind([](PlanCase& g) { g.facts.image_bytes.clear(); }) == ErrorKind::usage);
    CHECK(kind([](PlanCase& g) { g.options.nics[1] = "user"; }) == ErrorKind::usage);
    CHECK(kind([](PlanCase& g) { g.options.nics[0] = "user,id=x"; }) == ErrorKind::usage);
    CHECK(kind([](PlanCase& g) { g.options.nics[0] = ""; }) == ErrorKind::usage);
    CHECK(kind([](PlanCase& g) { g.options.set["machin"] = "x"; }) == ErrorKind::usage);
    CHECK(kind([](PlanCase& g) { g.options.set["machine"] = "pc-q35-7.2"; }) == ErrorKind::usage);
    CHECK(kind([](PlanCase& g) { g.options.set["machine"] = "pc-i440fx-9.9"; }) == ErrorKind::usage);
    CHECK(kind([](PlanCase& g) { g.options.set["reset-stub"] = "maybe"; }) == ErrorKind::usage);
    CHECK(kind([](PlanCase& g) { g.facts.machines = {"pc-q35-7.2"}; }) == ErrorKind::environment);
    CHECK(kind([](PlanCase& g) { g.facts.qemu_major = 5; }) == ErrorKind::environment);
}

TEST_CASE("plan: settings") {
    PlanCase guest;
    guest.options.set = {{"machine", "pc-i440fx-6.2"}, {"cpu", "EPYC,-svm"}, {"reset-stub", "off"}};
    guest.options.accel = Accel::kvm;
    guest.options.name = "other,name";
    const auto plan = guest.good();
    CHECK(argument(plan.arguments, "-M") == "pc-i440fx-6.2,hpet=off,vmport=off");
    CHECK(argument(plan.arguments, "-cpu") == "EPYC,-svm");
    CHECK(has_word(plan.arguments, "EPYC-x86_64-cpu,socket-id=0,core-id=1,thread-id=0"));
    CHECK(argument(plan.arguments, "-name") == "other,,name");
    CHECK_FALSE(plan.reset_stub);
}

TEST_CASE("plan: HPET and USB") {
    PlanCase guest;
    guest.config.hpet = true;
    guest.config.usbdevices = {"tablet"};
    const auto plan = guest.good();
    CHECK(argument(plan.arguments, "-M") == "pc-i440fx-7.2,hpet=on,vmport=off,usb=on");
    CHECK(plan.usb_uhci);
    CHECK(plan.usb_tablet);
    CHECK(has_word(plan.arguments, "usb-tablet,bus=usb-bus.0,port=1"));
    guest.config.usbdevices = {"tablet", "host:1234:5678"};
    REQUIRE(guest.make());
    CHECK(guest.refused("usb-controllers"));
    guest.config.usbdevices.clear();
    guest.config.usb_version = 3;
    REQUIRE(guest.make());
    CHECK(guest.refused("usb-controllers"));
}

TEST_CASE("plan: serial ports") {
    PlanCase guest;
    guest.config.serial = {"pty", "pty"};
    auto plan = guest.good();
    CHECK(arguments(plan.arguments, "-serial") == std::vector<std::string>{"file:/tmp/serial.log", "null"});
    CHECK(has_finding(guest.audit, Verdict::adapted, "serial"));
    guest.config.serial = {"none"};
    plan = guest.good();
    CHECK(plan.serial_ports == 0);
    CHECK(arguments(plan.arguments, "-serial").empty());
    guest.config.serial = {"none", "pty"};
    REQUIRE(guest.make());
    CHECK(guest.refused("serial-ports"));
    guest.config.serial = {"pty", "pty", "pty", "pty", "pty"};
    REQUIRE(guest.make());
    CHECK(guest.refused("serial-ports"));
}

TEST_CASE("plan: the machine type by the Xen release") {
    const auto chosen = [](unsigned xen_minor, const std::vector<std::string>& machines) {
        return choose_machine(machines, device_model_release(4, xen_minor));
    };
    const std::vector<std::string> trixie{"pc-i440fx-10.0", "pc-i440fx-9.2", "pc-i440fx-7.2",
                                          "pc-i440fx-5.2"};
    CHECK(chosen(17, trixie) == "pc-i440fx-7.2");
    CHECK(chosen(20, trixie) == "pc-i440fx-10.0");
    CHECK(chosen(99, trixie) == "pc-i440fx-10.0");
    CHECK(chosen(14, trixie) == "pc-i440fx-5.2");
    CHECK(chosen(18, trixie) == "pc-i440fx-7.2");
    CHECK(chosen(11, trixie) == "pc-i440fx-5.2");  // all are newer: the oldest
    CHECK(chosen(20, {"pc-i440fx-7.2", "pc-i440fx-2.10"}) == "pc-i440fx-7.2");
    CHECK(chosen(17, {"pc", "pc-q35-7.2", "pc-i440fx-", "pc-i440fx-7", "pc-i440fx-7.2x"}).empty());

    PlanCase guest;
    guest.xen_minor = 8;
    CHECK(guest.good().machine == "pc-i440fx-2.10");
    CHECK(has_finding(guest.audit, Verdict::adapted, "machine"));
}

TEST_CASE("plan: nothing that a stream says in words reaches a command line") {
    PlanCase guest;
    const std::string evil = "EVIL";
    auto& config = guest.config;
    config.name = "$(touch EVIL),id=x '\n";
    config.serial = {"file:/EVIL"};
    config.disks[0].format = "EVIL";
    config.extra_hvm = {"-EVIL"};
    config.soundhw = {"EVIL"};
    config.other_devices = {"EVIL"};
    guest.options.allow = {"raw-device-model-arguments"};
    for (auto* text :
         {&config.vga, &config.bios, &config.device_model, &config.hdtype, &config.nics[0].model})
        *text = "EVIL,\n";
    config.usbdevices = {"EVIL"};
    // The vendor is text, too, and may not be free.
    const auto plan = guest.make();
    REQUIRE(plan.has_value());
    CHECK(plan->name == "__touch_EVIL__id_x___");
    for (const auto& words : {plan->arguments, plan->twin_arguments})
        for (std::size_t i = 0; i < words.size(); ++i)
            if (i == 0 || words[i - 1] != "-name") CHECK(words[i].find(evil) == std::string::npos);

    for (auto& leaf : guest.policy)
        if (leaf.leaf == 0) leaf.ebx = 0x2c782c2c;
    const auto bad_vendor = guest.make();
    REQUIRE_FALSE(bad_vendor.has_value());
    CHECK(bad_vendor.error().kind == ErrorKind::stream);
}
