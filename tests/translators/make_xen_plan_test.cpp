// The Xen domain for a QEMU guest: its configuration, its memory, and what is refused.
#include <algorithm>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/error_text.hpp"
#include "tests/translators/xen_plan_fixture.hpp"
#include "translators/domain_config.hpp"

using namespace vmferry;
using namespace vmferry::test;

namespace {

constexpr std::uint64_t mib = 1u << 20, gib = 1u << 30;

TEST_CASE_FIXTURE(XenPlanFixture, "cirrus, e1000 and an IDE disk are libxl's own") {
    const auto plan = this->plan();
    CHECK_FALSE(audit.refused());
    CHECK(plan.name == "web1");
    CHECK(plan.uuid == "11223344-5566-7788-99aa-bbccddeeff00");
    CHECK(plan.vcpus == 2);
    CHECK(plan.xen_major == 4);
    CHECK(plan.xen_minor == 17);
    CHECK(plan.msrs.size() == 2);
    CHECK(plan.tsc_khz == 2'000'000);
    CHECK(plan.vga_vmsd == "cirrus_vga");
    CHECK(plan.vram_block == "0000:00:02.0/vga.vram");
    CHECK(plan.acpi_block.empty());

    const PlannedConfig config(plan);
    CHECK(config.at("/c_info/type") == "hvm");
    CHECK(config.at("/c_info/name") == "web1");
    CHECK(config.at("/b_info/max_vcpus") == 2);
    CHECK(config.at("/b_info/avail_vcpus") == nlohmann::json{0, 1});
    CHECK(config.at("/b_info/max_memkb") == 120 << 10);
    CHECK(config.at("/b_info/target_memkb") == 120 << 10);
    CHECK(config.at("/b_info/video_memkb") == 8192);
    CHECK(config.at("/b_info/extra_hvm").is_null());
    CHECK(config.at("/b_info/type.hvm/vga/kind") == "cirrus");
    CHECK(config.at("/b_info/type.hvm/hpet") == "False");
    CHECK(config.at("/b_info/type.hvm/xen_platform_pci") == "False");
    CHECK(config.at("/b_info/type.hvm/usb") == "False");
    CHECK(config.at("/b_info/type.hvm/serial") == "null");
    CHECK(config.at("/b_info/type.hvm/mmio_hole_memkb").is_null());
    CHECK(config.at("/disks/0/vdev") == "hda");
    CHECK(config.at("/disks/0/pdev_path") == "/dev/vg/web1");
    CHECK(config.at("/disks/0/backend") == "qdisk");
    CHECK(config.at("/disks/0/readwrite") == 1);
    CHECK(config.at("/nics/0/model") == "e1000");
    CHECK(config.at("/nics/0/mac") == "00:16:3e:11:22:44");
    CHECK(config.at("/nics/0/bridge") == "xenbr0");
    CHECK(config.at("/nics/0/nictype") == "vif_ioemu");

    const auto read = read_domain_config(plan.config, 0);
    REQUIRE_MESSAGE(read.has_value(), error_text(read));
    CHECK(read->max_memkb == 120 << 10);
    CHECK(read->avail_vcpus.size() == 2);
    CHECK_FALSE(read->hpet);
    CHECK(read->disks.size() == 1);
    CHECK(read->nics.size() == 1);
}

TEST_CASE_FIXTURE(XenPlanFixture, "the ranges of RAM leave the VGA window out") {
    const auto plan = this->plan();
    CHECK(plan.ram_bytes == 112 * mib);
    REQUIRE(plan.ram.size() == 2);
    CHECK(plan.ram[0].first_gfn == 0);
    CHECK(plan.ram[0].frames == 0xA0);
    CHECK(plan.ram[1].first_gfn == 0xC0);
    CHECK(plan.ram[1].frames == 28672 - 0xC0);
    CHECK(plan.ram[1].block_offset == 0xC0000);
}

TEST_CASE_FIXTURE(XenPlanFixture, "RAM that QEMU split needs a hole of that size") {
    source.blocks[0].used_length = facts->ram_bytes = 5 * gib;
    facts->low_ram_end = 3 * gib;
    const auto plan = this->plan();
    CHECK_FALSE(audit.refused());
    CHECK(PlannedConfig(plan).at("/b_info/type.hvm/mmio_hole_memkb") == 1 << 20);
    CHECK(PlannedConfig(plan).at("/b_info/max_memkb") == (5 << 20) + 8192);
    REQUIRE(plan.ram.size() == 3);
    CHECK(plan.ram[2].first_gfn == 0x100000);
    CHECK(plan.ram[2].frames == 0x80000);
    CHECK(plan.ram[2].block_offset == 3 * gib);

    facts->low_ram_end = 64 * mib;  // a hole of 4032 MiB
    CHECK(this->plan().ram_bytes == 5 * gib);
    CHECK(finding("memory-layout") == "65536 KiB of RAM at 0 and 5177344 KiB at 4 GiB");
}

TEST_CASE_FIXTURE(XenPlanFixture, "RAM without a hole for Xen, or of no whole pages, is refused") {
    source.blocks[0].used_length = facts->ram_bytes = facts->low_ram_end = 3841 * mib;
    (void)this->plan();
    CHECK(finding("memory-layout") == "3933184 KiB of RAM at 0 and 0 KiB at 4 GiB");
    source.blocks[0].used_length = facts->ram_bytes = facts->low_ram_end = 112 * mib + 8192;
    CHECK(PlannedConfig(this->plan()).at("/b_info/max_memkb") == 113 * 1024 + 8192);
    CHECK(finding("memory-layout").empty());
    CHECK(std::ranges::any_of(audit.findings(), [](const Finding& found) {
        return found.text ==
               "1016 KiB more, which the guest sees after a reset: Xen builds domains of whole MiB";
    }));
    source.blocks[0].used_length = facts->ram_bytes = facts->low_ram_end = 112 * mib + 2048;
    (void)this->plan();
    CHECK_FALSE(finding("memory-layout").empty());
}

TEST_CASE_FIXTURE(XenPlanFixture, "RAM in other blocks") {
    SUBCASE("NUMA") {
        facts->ram_block.clear();
        (void)plan();
        CHECK(finding("memory-layout") == "the RAM is in several parts (NUMA)");
    }
    SUBCASE("a block that nobody knows") {
        add_block("0000:00:05.0/shared", mib);
        (void)plan();
        CHECK(finding("memory-layout") == "RAM block 0000:00:05.0/shared of 1024 KiB has no known place");
    }
    SUBCASE("pflash") {
        add_block("system.flash0", mib);
        (void)plan();
        CHECK(finding("uefi-firmware") == "RAM block system.flash0 of 1024 KiB");
    }
    SUBCASE("a large -bios") {
        source.blocks[1].used_length = 4 * mib;
        (void)plan();
        CHECK(finding("uefi-firmware") == "RAM block pc.bios of 4096 KiB");
    }
    SUBCASE("a module behind a gap") {
        facts->dimms.push_back({.block = "hi", .base = 8 * gib, .bytes = gib});
        add_block("hi", gib);
        (void)plan();
        CHECK(finding("memory-layout") == "a memory module of 1024 MiB at 0x200000000, not at 0x100000000");
    }
    CHECK(audit.refused());
}

TEST_CASE_FIXTURE(XenPlanFixture,
                  "a guest that came from Xen keeps its firmware area, its CPUs and its layout") {
    add_block("0000:00:1f.0/xfw", 32 * mib);
    facts->others.push_back({"ivshmem-plain", "", PciSlot{31, 0}});
    facts->vcpus = facts->max_vcpus = 4;
    facts->apic_ids = {0, 1, 2, 3};
    source.blocks[0].used_length = facts->ram_bytes = facts->low_ram_end = 3840 * mib;
    facts->dimms.push_back({.block = "hi", .base = 4 * gib, .bytes = gib});
    add_block("hi", gib);
    const auto plan = this->plan();
    CHECK_FALSE(audit.refused());
    CHECK(plan.acpi_block == "0000:00:1f.0/xfw");
    CHECK(plan.acpi_base == 0xFC000000);
    CHECK(plan.acpi_bytes == 32 * mib);
    CHECK(plan.vcpus == 2);
    CHECK(plan.ram_bytes == 4864 * mib);
    REQUIRE(plan.ram.size() == 3);
    CHECK(plan.ram[2].block == "hi");
    CHECK(plan.ram[2].first_gfn == 0x100000);
    CHECK(plan.ram[2].block_offset == 0);
    const PlannedConfig config(plan);
    CHECK(config.at("/b_info/extra_hvm").is_null());
    CHECK(config.at("/b_info/max_vcpus") == 2);
    CHECK(config.at("/b_info/type.hvm/mmio_hole_memkb").is_null());  // Xen's own default

    SUBCASE("without the firmware area every CPU is one") {
        std::erase_if(source.blocks, [](const auto& block) { return block.idstr.ends_with("/xfw"); });
        facts->others.clear();
        CHECK(this->plan().vcpus == 4);
    }
    SUBCASE("an ivshmem device of another use is refused") {
        facts->others.push_back({"ivshmem-plain", "shm", PciSlot{9, 0}});
        (void)this->plan();
        CHECK(finding("unknown-device") == "ivshmem-plain, id shm at 00:09.0");
    }
}

TEST_CASE_FIXTURE(XenPlanFixture, "a source that does not see all that its guest writes") {
    bool refused = false;
    facts->accel = Accel::tcg;
    facts->stopped = false;
    SUBCASE("QEMU 7.2 under TCG") {
        refused = true;
    }
    SUBCASE("under KVM") {
        facts->accel = Accel::kvm;
    }
    SUBCASE("QEMU 9.0") {
        facts->qemu_major = 9;
        facts->qemu_minor = 0;
    }
    SUBCASE("a guest that stands still") {
        facts->stopped = true;
    }
    SUBCASE("RAM that does not fill whole words of the bitmap") {
        source.blocks[0].used_length = facts->ram_bytes = facts->low_ram_end = facts->ram_bytes + 0x2000;
    }
    (void)this->plan();
    CHECK(finding("tcg-missed-writes") ==
          (refused ? fmt::format("QEMU 7.2, {} KiB of RAM", facts->ram_bytes / 1024) : ""));
}

TEST_CASE_FIXTURE(XenPlanFixture, "standard VGA and virtio devices go where the guest knows them") {
    facts->vga = "VGA";
    facts->vram_bytes = 16 * mib;
    source.blocks[3].used_length = 16 * mib;
    facts->nics[0].model = "virtio-net-pci";
    facts->nics[0].slot = {5, 0};
    facts->nics[0].properties = {{"disable-legacy", "off"}, {"vectors", "3"}};
    facts->disks[0] = {.model = "virtio-blk-pci",
                       .id = "root",
                       .file = "/x",
                       .slot = {6, 0},
                       .bytes = mib,
                       .serial = "WD-1",
                       .properties = {{"num-queues", "2"}}};
    options.disks = {{"vda", {.path = "/srv/a,b.qcow2", .format = "qcow2"}}};
    const auto plan = this->plan();
    CHECK_FALSE(audit.refused());
    const PlannedConfig config(plan);
    CHECK(config.at("/b_info/type.hvm/vga/kind") == "std");
    CHECK(config.at("/b_info/video_memkb") == 16384);
    CHECK(config.at("/nics/0/model") == "virtio-net-pci,addr=0x5,disable-legacy=off,vectors=3");
    CHECK(config.at("/disks").is_null());
    CHECK(extra_arguments(config.json) ==
          "-drive file=/srv/a,,b.qcow2,if=none,id=drive-vda,format=qcow2,cache=writeback "
          "-device virtio-blk-pci,id=disk-vda,drive=drive-vda,addr=0x6,num-queues=2,serial=WD-1");

    SUBCASE("by id") {
        options.disks = {{"root", {.path = "/srv/x", .format = "vhd"}}};
        options.nics = {{"net7", {.bridge = "br1", .script = "vif-route"}}};
        const PlannedConfig by_id(this->plan());
        CHECK(by_id.at("/nics/0/bridge") == "br1");
        CHECK(by_id.at("/nics/0/script") == "vif-route");
        CHECK(extra_arguments(by_id.json).find("format=vpc") != std::string::npos);
    }
    SUBCASE("a device model that cannot load the disk") {
        xen.xen_minor = 20;
        (void)this->plan();
        CHECK(finding("virtio-disk-load") == "the disk at 00:06.0, on Xen 4.20");
        CHECK(audit.refused());
    }
    SUBCASE("a serial number that could be more than one") {
        facts->disks[0].serial = "x,readonly=on";
        const PlannedConfig config2(this->plan());
        CHECK(finding("disk-serial") == "drive vda");
        CHECK(audit.refused());
        CHECK(extra_arguments(config2.json).find("readonly") == std::string::npos);
    }
}

TEST_CASE_FIXTURE(XenPlanFixture, "adapters that libxl would not place or size so") {
    SUBCASE("at another slot") {
        facts->vga_slot = {4, 0};
        source.blocks[3].idstr = "0000:00:04.0/vga.vram";
        const PlannedConfig config(plan());
        CHECK(config.at("/b_info/type.hvm/vga/kind") == "none");
        CHECK(config.at("/b_info/video_memkb") == 8192);
        CHECK(extra_arguments(config.json) == "-device cirrus-vga,vgamem_mb=8,addr=0x4");
        CHECK(config.at("/nics/0/model") == "e1000,addr=0x3");  // slot 2 is free for libxl's first device
    }
    SUBCASE("with less memory than libxl takes") {
        facts->vram_bytes = 4 * mib;
        source.blocks[3].used_length = 4 * mib;
        const PlannedConfig config(plan());
        CHECK(config.at("/b_info/video_memkb") == 4096);
        CHECK(extra_arguments(config.json) == "-device cirrus-vga,vgamem_mb=4,addr=0x2");
        CHECK(config.at("/nics/0/model") == "e1000,addr=0x3");
    }
    SUBCASE("none") {
        facts->vga.clear();
        facts->nics[0].slot = {2, 0};
        source.blocks[3] = {"0000:00:02.0/e1000.rom", 4096};
        const PlannedConfig config(plan());
        CHECK(config.at("/b_info/type.hvm/vga/kind") == "none");
        CHECK(config.at("/b_info/video_memkb") == 0);
        CHECK(config.at("/nics/0/model") == "e1000");
        CHECK(extra_arguments(config.json).empty());
    }
    CHECK_FALSE(audit.refused());
}

TEST_CASE_FIXTURE(XenPlanFixture, "cards in the order of libxl's list need no address") {
    facts->nics.push_back({.model = "rtl8139", .id = "", .mac = "52:54:00:00:00:01", .slot = {4, 0}});
    facts->nics.push_back({.model = "e1000", .id = "", .mac = "52:54:00:00:00:02", .slot = {7, 0}});
    options.nics["1"] = options.nics["2"] = options.nics["0"];
    const PlannedConfig config(plan());
    CHECK(config.at("/nics/1/model") == "rtl8139");
    CHECK(config.at("/nics/1/devid") == 1);
    CHECK(config.at("/nics/2/model") == "e1000,addr=0x7");

    SUBCASE("an unmapped one is refused, or built without network") {
        options.nics.erase("1");
        (void)plan();
        CHECK(finding("unmapped-nic") == "card 1 (rtl8139 52:54:00:00:00:01)");
        CHECK(audit.refused());
        options.allow = {"unmapped-nic"};
        const PlannedConfig allowed(plan());
        CHECK_FALSE(audit.refused());
        CHECK(allowed.at("/nics").size() == 2);
        CHECK(allowed.at("/nics/1/devid") == 2);
        CHECK(allowed.at("/nics/1/model") == "e1000,addr=0x7");
        CHECK(extra_arguments(allowed.json) == "-device rtl8139,mac=52:54:00:00:00:01,addr=0x4");
    }
}

TEST_CASE_FIXTURE(XenPlanFixture, "CD-ROM drives") {
    facts->disks.push_back({.model = "ide-cd", .id = "", .file = "", .ide_index = 2, .slot = {}});
    const PlannedConfig empty(plan());
    CHECK_FALSE(audit.refused());
    CHECK(empty.at("/disks/1/vdev") == "hdc");
    CHECK(empty.at("/disks/1/format") == "empty");
    CHECK(empty.at("/disks/1/is_cdrom") == 1);
    CHECK(empty.at("/disks/1/readwrite") == 0);
    CHECK(empty.at("/disks/1/pdev_path").is_null());

    facts->disks[1].file = "/srv/debian.iso";
    (void)plan();
    CHECK(finding("unmapped-disk") == "drive hdc (ide-cd) has no image");
    options.disks["hdc"] = {.path = "none"};
    CHECK(PlannedConfig(plan()).at("/disks/1/format") == "empty");
    CHECK_FALSE(audit.refused());
    options.disks["hdc"] = {.path = "/srv/other.iso"};
    CHECK(PlannedConfig(plan()).at("/disks/1/pdev_path") == "/srv/other.iso");
}

TEST_CASE_FIXTURE(XenPlanFixture, "USB, serial ports, a parallel port") {
    facts->usb_uhci = facts->usb_tablet = true;
    facts->serial_ports = 2;
    facts->others.push_back({"isa-parallel", "", std::nullopt});
    options.serial = {"pty"};
    const PlannedConfig config(plan());
    CHECK_FALSE(audit.refused());
    CHECK(config.at("/b_info/type.hvm/usb") == "True");
    CHECK(config.at("/b_info/type.hvm/usbdevice_list") == nlohmann::json{"tablet"});
    CHECK(config.at("/b_info/type.hvm/serial_list") == nlohmann::json{"pty", "null"});
    CHECK(extra_arguments(config.json) == "-parallel null");
    CHECK(finding("serial") == "1 of 2 ports lead nowhere on the destination (see --serial)");
}

TEST_CASE_FIXTURE(XenPlanFixture, "what has no counterpart is refused by name") {
    facts->others.push_back({"vmxnet3", "fast", PciSlot{9, 0}});
    (void)plan();
    CHECK(finding("unknown-device") == "vmxnet3, id fast at 00:09.0");
    facts->others.clear();
    facts->nics[0].model = "ne2k_pci";
    (void)plan();
    CHECK(finding("unknown-device") == "card 0 (ne2k_pci 00:16:3e:11:22:44)");
    facts->nics[0] = {.model = "e1000", .id = "", .mac = "00:16:3e:11:22:44", .slot = {3, 1}};
    (void)plan();
    CHECK(finding("unknown-device") == "card 0 (e1000 00:16:3e:11:22:44) is function 1 of PCI slot 0x3");
    facts->machine = source.machine = "pc-q35-7.2";
    (void)plan();
    CHECK(finding("source-machine") == "the machine is pc-q35-7.2");
    facts->vcpus = 200;
    (void)plan();
    CHECK(finding("vcpu-count") == "the guest has 200 virtual CPUs");
    CHECK(audit.refused());
}

TEST_CASE_FIXTURE(XenPlanFixture, "mistakes of the operator") {
    SUBCASE("a drive that is not there") {
        options.disks["hdb"] = {.path = "/x"};
        CHECK(error().text() == "--disk hdb: the guest has no such drive, expected one of hda");
    }
    SUBCASE("a card that is not there") {
        options.nics["5"] = {.bridge = "x", .script = ""};
        CHECK(error().text() == "--nic 5: the guest has no such card, expected one of 0, net7");
    }
    SUBCASE("a bridge that is more than a name") {
        options.nics["0"].bridge = "br0,script=/bin/sh";
        CHECK(error().kind == ErrorKind::usage);
    }
    SUBCASE("a path that Xen would tear apart") {
        options.disks["hda"].path = "/srv/a,b";
        CHECK(error().expected == "a path without comma, as Xen passes it on to QEMU");
    }
    SUBCASE("a format") {
        options.disks["hda"].format = "vmdk";
        CHECK(error().expected == "raw, qcow2, qcow, vhd or qed");
    }
    SUBCASE("a backend") {
        options.disks["hda"].backend = "tap";
        CHECK(error().expected == "qdisk or phy");
    }
    SUBCASE("phy takes no image file") {
        options.disks["hda"] = {.path = "/x", .format = "qcow2", .backend = "phy"};
        CHECK(error().kind == ErrorKind::usage);
    }
    SUBCASE("a disk without medium") {
        options.disks["hda"].path = "none";
        CHECK(error().expected == "an image, as it is not a CD-ROM drive");
    }
    SUBCASE("more serial lines than ports") {
        options.serial = {"pty", "pty"};
        CHECK(error().expected == "at most once for each of the guest's 1 ports");
    }
    SUBCASE("a guest without name") {
        facts->name.clear();
        CHECK(error().format == "--name");
    }
    SUBCASE("a name that is none") {
        options.name = "../x";
        CHECK(error().format == "--name");
    }
    SUBCASE("the QMP socket of another QEMU") {
        source.machine = "pc-i440fx-5.2";
        CHECK(error().format == "--source-qmp");
    }
    SUBCASE("nothing that describes the guest") {
        facts.reset();
        CHECK(error().format == "--domain-config");
        options.domain_config = "{}";
        CHECK(error().found == "--disk, --nic or --serial beside it");
        options.disks.clear();
        options.nics.clear();
        CHECK(error().format == "xl config");
    }
}

TEST_CASE_FIXTURE(XenPlanFixture, "names and ids that QEMU lets pass") {
    facts->name = "my web/server";
    facts->uuid = "00000000-0000-0000-0000-000000000000";
    const auto plan = this->plan();
    CHECK(plan.name == "my_web_server");
    std::array<std::uint8_t, 16> bytes{};
    REQUIRE(parse_uuid(plan.uuid, bytes));
    CHECK((bytes[6] >> 4) == 4);
    CHECK((bytes[8] >> 6) == 2);
    CHECK(this->plan().uuid != plan.uuid);
}

TEST_CASE_FIXTURE(XenPlanFixture, "the TSC's rate: what the operator says, the source, the template") {
    CHECK(plan().tsc_khz == 2'000'000);
    options.tsc_khz.reset();
    facts->tsc_khz = 2'500'000;
    CHECK(plan().tsc_khz == 2'500'000);
    facts->tsc_khz.reset();
    hvm_save_header header{};
    header.gtsc_khz = 3'000'000;
    xen.context.push_back({HVM_SAVE_CODE(HEADER), 0, 0, 0, header});
    CHECK(plan().tsc_khz == 3'000'000);
    CHECK_FALSE(finding("TSC").empty());
    options.tsc_khz = 1ull << 33;
    CHECK(error().format == "--set tsc_khz");
    options.tsc_khz = 1'000;
    options.tsc_mode = TscMode::never_emulate;
    CHECK(PlannedConfig(plan()).at("/b_info/tsc_mode") == "native");
}

}  // namespace
