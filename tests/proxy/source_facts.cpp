// Against the real QEMU: what it says of its machine, for the machines that guests run on.
#include "proxy/source_facts.hpp"

#include <algorithm>
#include <chrono>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "proxy/qemu_process.hpp"
#include "proxy/qmp_call.hpp"
#include "proxy/temporary_directory.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/machines.hpp"

using namespace vmferry;
using vmferry::test::error_text;

namespace {

using Words = std::vector<std::string>;

constexpr std::uint64_t mib = 1u << 20;

struct Fixture {
    Loop loop;
    TemporaryDirectory directory = std::move(*TemporaryDirectory::create());

    /// Facts of a machine that was never run; 64 MiB unless the words say otherwise.
    SourceFacts facts(const Words& words) {
        const auto socket = directory.file("qmp");
        Words all{
            "-accel", "tcg", "-display", "none", "-S", "-qmp", "unix:" + socket + ",server=on,wait=off"};
        all.insert(all.end(), words.begin(), words.end());
        auto process =
            QemuProcess::start(loop, {"QEMU", test::qemu_binary, std::move(all), directory.file("log")});
        REQUIRE_MESSAGE(process.has_value(), error_text(process));
        QmpClient qmp(loop.uv(), "QEMU");
        const auto greeting = qmp_connect(loop, qmp, socket, std::chrono::seconds(30));
        REQUIRE_MESSAGE(greeting.has_value(), error_text(greeting), (*process)->log_tail());
        auto facts = read_source_facts(loop, qmp, {});
        REQUIRE_MESSAGE(facts.has_value(), error_text(facts));
        return std::move(*facts);
    }
};

std::string models(const std::vector<SourceDevice>& devices) {
    std::vector<std::string> names;
    names.reserve(devices.size());
    for (const auto& device : devices) names.push_back(device.model);
    std::ranges::sort(names);
    std::string all;
    for (const auto& name : names) all += (all.empty() ? "" : " ") + name;
    return all;
}

const std::string* property(const DeviceProperties& properties, std::string_view name) {
    for (const auto& [key, value] : properties)
        if (key == name) return &value;
    return nullptr;
}

TEST_CASE_FIXTURE(Fixture, "a PC with cirrus, e1000 and an IDE disk") {
    const auto facts = this->facts({"-M",
                                    "pc-i440fx-7.2,hpet=off",
                                    "-m",
                                    "112",
                                    "-smp",
                                    "2",
                                    "-name",
                                    "web 1",
                                    "-uuid",
                                    "11223344-5566-7788-99AA-bbccddeeff00",
                                    "-nodefaults",
                                    "-cpu",
                                    "max,family=6,model=42,stepping=3",
                                    "-device",
                                    "cirrus-vga,addr=2,vgamem_mb=8",
                                    "-device",
                                    "e1000,addr=3,id=net7,mac=00:16:3E:11:22:44",
                                    "-drive",
                                    "if=ide,index=0,driver=null-co,size=3145728",
                                    "-serial",
                                    "null"});
    CHECK(facts.qemu_major == 7);
    CHECK(facts.qemu_minor == 2);
    CHECK(facts.accel == Accel::tcg);
    CHECK(facts.stopped);
    CHECK(facts.machine == "pc-i440fx-7.2");
    CHECK(facts.name == "web 1");
    CHECK(facts.uuid == "11223344-5566-7788-99aa-bbccddeeff00");
    CHECK(facts.vcpus == 2);
    CHECK(facts.max_vcpus == 2);
    CHECK(facts.apic_ids == std::vector<unsigned>{0, 1});
    CHECK(facts.ram_block == "pc.ram");
    CHECK(facts.ram_bytes == 112 * mib);
    CHECK(facts.low_ram_end == 112 * mib);
    CHECK(facts.dimms.empty());
    CHECK(facts.vga == "cirrus-vga");
    CHECK(facts.vga_slot.device == 2);
    CHECK(facts.vram_bytes == 8 * mib);
    REQUIRE(facts.nics.size() == 1);
    CHECK(facts.nics[0].model == "e1000");
    CHECK(facts.nics[0].id == "net7");
    CHECK(facts.nics[0].mac == "00:16:3e:11:22:44");
    CHECK(facts.nics[0].slot.device == 3);
    CHECK(facts.nics[0].properties.empty());
    REQUIRE(facts.disks.size() == 1);
    CHECK(facts.disks[0].model == "ide-hd");
    CHECK(facts.disks[0].ide_index == 0);
    CHECK(facts.disks[0].bytes == 3 * mib);
    CHECK(facts.disks[0].serial == "QM00001");
    CHECK_FALSE(facts.disks[0].readonly);
    CHECK(facts.serial_ports == 1);
    CHECK_FALSE(facts.hpet);
    CHECK_FALSE(facts.usb_uhci);
    CHECK_FALSE(facts.tsc_khz.has_value());
    CHECK(models(facts.others) == "");
    CHECK(facts.cpu.vendor == "AuthenticAMD");
    CHECK(facts.cpu.family == 6);
    CHECK(facts.cpu.model == 42);
    CHECK(facts.cpu.stepping == 3);
    CHECK(facts.cpu.words.size() > 10);
}

TEST_CASE_FIXTURE(Fixture, "a PC with standard VGA and virtio devices") {
    const auto facts = this->facts({"-M", "pc-i440fx-7.2", "-m", "64", "-nodefaults", "-device", "VGA,addr=4",
                                    "-device", "virtio-blk-pci,drive=second,addr=7,num-queues=3,serial=abc",
                                    "-device", "virtio-blk-pci,drive=first,id=root,addr=6,disable-legacy=on",
                                    "-device", "virtio-net-pci,addr=5.0,mac=52:54:00:00:00:01", "-drive",
                                    "driver=null-co,size=2097152,if=none,id=first", "-blockdev",
                                    "driver=null-co,node-name=second,size=4194304,read-only=on"});
    CHECK(facts.vga == "VGA");
    CHECK(facts.vga_slot.device == 4);
    CHECK(facts.vram_bytes == 16 * mib);
    REQUIRE(facts.disks.size() == 2);
    CHECK(facts.disks[0].model == "virtio-blk-pci");
    CHECK(facts.disks[0].id == "root");
    CHECK(facts.disks[0].slot.device == 6);
    CHECK(facts.disks[0].bytes == 2 * mib);
    CHECK(facts.disks[0].serial.empty());
    CHECK_FALSE(facts.disks[0].readonly);
    CHECK(*property(facts.disks[0].properties, "num-queues") == "1");
    CHECK(*property(facts.disks[0].properties, "vectors") == "2");
    CHECK(*property(facts.disks[0].properties, "disable-legacy") == "on");
    CHECK(facts.disks[1].id.empty());
    CHECK(facts.disks[1].slot.device == 7);
    CHECK(facts.disks[1].bytes == 4 * mib);
    CHECK(facts.disks[1].readonly);
    CHECK(facts.disks[1].serial == "abc");
    CHECK(*property(facts.disks[1].properties, "num-queues") == "3");
    CHECK(*property(facts.disks[1].properties, "vectors") == "4");
    REQUIRE(facts.nics.size() == 1);
    CHECK(facts.nics[0].model == "virtio-net-pci");
    CHECK(facts.nics[0].slot.device == 5);
    CHECK(*property(facts.nics[0].properties, "mq") == "off");
    CHECK(*property(facts.nics[0].properties, "vectors") == "4");
    CHECK(facts.hpet);
    CHECK(facts.serial_ports == 0);
    CHECK(models(facts.others) == "");
}

TEST_CASE_FIXTURE(Fixture, "a PC with QEMU's own defaults, USB and an empty CD-ROM drive") {
    const auto facts =
        this->facts({"-M", "pc-i440fx-7.2", "-m", "64", "-net", "none", "-usb", "-device", "usb-tablet",
                     "-device", "usb-kbd,id=keys", "-drive", "if=ide,index=3,media=cdrom", "-serial", "null",
                     "-serial", "null", "-device", "rtl8139,mac=52:54:00:00:00:02"});
    CHECK(facts.vga == "VGA");
    CHECK(facts.usb_uhci);
    CHECK(facts.usb_tablet);
    CHECK(facts.serial_ports == 2);
    CHECK(facts.name.empty());
    CHECK(facts.uuid == "00000000-0000-0000-0000-000000000000");
    REQUIRE(facts.disks.size() == 2);  // one of them is QEMU's own default
    CHECK(facts.disks[0].ide_index == 2);
    CHECK(facts.disks[1].model == "ide-cd");
    CHECK(facts.disks[1].ide_index == 3);
    CHECK(facts.disks[1].file.empty());
    CHECK(facts.disks[1].bytes == 0);
    REQUIRE(facts.nics.size() == 1);
    CHECK(facts.nics[0].model == "rtl8139");
    // QEMU puts the last two USB devices behind a hub.
    CHECK(models(facts.others) == "isa-parallel usb-hub usb-kbd");
    CHECK(std::ranges::find(facts.others, "keys", &SourceDevice::id) != facts.others.end());
}

TEST_CASE_FIXTURE(Fixture, "a PC with nothing in it") {
    const auto facts = this->facts({"-M", "pc-i440fx-7.2,vmport=off", "-m", "32", "-nodefaults"});
    CHECK(facts.vga.empty());
    CHECK(facts.vram_bytes == 0);
    CHECK(facts.nics.empty());
    CHECK(facts.disks.empty());
    CHECK(models(facts.others) == "");
    CHECK(facts.serial_ports == 0);
    CHECK(facts.vcpus == 1);
    CHECK(facts.ram_bytes == 32 * mib);
}

TEST_CASE_FIXTURE(Fixture, "memory that is split, modules, CPUs with gaps, devices that are not known") {
    const auto facts = this->facts({"-M",
                                    "pc-i440fx-7.2,max-ram-below-4g=1G,memory-backend=main",
                                    "-m",
                                    "size=1536M,slots=2,maxmem=4G",
                                    "-smp",
                                    "1,sockets=1,cores=2,threads=2,maxcpus=4",
                                    "-nodefaults",
                                    "-device",
                                    "qemu64-x86_64-cpu,socket-id=0,core-id=1,thread-id=0",
                                    "-object",
                                    "memory-backend-ram,id=main,size=1536M",
                                    "-object",
                                    "memory-backend-ram,id=hi,size=128M",
                                    "-device",
                                    "pc-dimm,id=dimm0,memdev=hi,addr=0x140000000",
                                    "-object",
                                    "memory-backend-ram,id=fw,size=32M,share=on",
                                    "-device",
                                    "ivshmem-plain,id=xfw,memdev=fw,addr=1f",
                                    "-device",
                                    "bochs-display,addr=2",
                                    "-device",
                                    "virtio-scsi-pci,id=scsi0,addr=6",
                                    "-device",
                                    "scsi-hd,drive=d,bus=scsi0.0",
                                    "-blockdev",
                                    "driver=null-co,node-name=d,size=1048576",
                                    "-device",
                                    "ahci,addr=8,id=sata",
                                    "-device",
                                    "ide-cd,bus=sata.0",
                                    "-device",
                                    "pci-bridge,chassis_nr=1,id=pci.9",
                                    "-device",
                                    "e1000,bus=pci.9,addr=1"});
    CHECK(facts.ram_block == "main");
    CHECK(facts.ram_bytes == 1536 * mib);
    CHECK(facts.low_ram_end == 1024 * mib);
    REQUIRE(facts.dimms.size() == 1);
    CHECK(facts.dimms[0].block == "hi");
    CHECK(facts.dimms[0].base == 0x140000000);
    CHECK(facts.dimms[0].bytes == 128 * mib);
    CHECK(facts.vcpus == 2);
    CHECK(facts.max_vcpus == 4);
    CHECK(facts.apic_ids == std::vector<unsigned>{0, 2});
    CHECK(facts.vga.empty());
    CHECK(facts.nics.empty());
    CHECK(facts.disks.empty());
    CHECK(models(facts.others) ==
          "bochs-display e1000 ich9-ahci ide-cd ivshmem-plain pci-bridge scsi-hd virtio-scsi-pci");
    const auto firmware = std::ranges::find(facts.others, "ivshmem-plain", &SourceDevice::model);
    REQUIRE(firmware->slot.has_value());
    CHECK(firmware->slot->device == 31);
    const auto behind_bridge = std::ranges::find(facts.others, "e1000", &SourceDevice::model);
    CHECK_FALSE(behind_bridge->slot.has_value());
}

TEST_CASE_FIXTURE(Fixture, "a machine of another line is named") {
    const auto facts = this->facts({"-M", "microvm", "-m", "64", "-nodefaults"});
    CHECK(facts.machine == "microvm");
    const auto q35 = this->facts({"-M", "pc-q35-7.2", "-m", "64", "-nodefaults"});
    CHECK(q35.machine == "pc-q35-7.2");
}

}  // namespace
