// The schemas against a real QEMU: machines with many devices are brought into states where the conditional
// parts of their sections are sent, and migrated to a file. What the description says of every section must
// be what the schema reads from the same bytes without it.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include <doctest/doctest.h>
#include <unistd.h>

#include "parsers/qemu/schema.hpp"
#include "tests/error_text.hpp"
#include "tests/parsers/qemu/support.hpp"

namespace vmferry::qemu {
namespace {

namespace fs = std::filesystem;

// Xen's own build of QEMU has a 32-bit target, so qemu-system-i386 is its next relative.
constexpr const char* qemu = "qemu-system-i386";

class Machine {
  public:
    Machine() : folder_(fs::temp_directory_path() / fmt::format("vmferry-live-{}", ::getpid())) {
        fs::create_directories(folder_);
        for (const auto* name : {"disk", "disk2", "cd", "cd2", "floppy"}) {
            std::ofstream(file(name)).put('x');
            fs::resize_file(file(name), std::string_view(name) == "floppy" ? 1'474'560 : 4'194'304);
        }
    }
    ~Machine() { fs::remove_all(folder_); }
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    [[nodiscard]] std::string file(const std::string& name) const { return (folder_ / name).string(); }

    /// Runs QEMU for so long, gives it the monitor commands, and returns what it migrates.
    Buffer migrate(const std::string& arguments, std::chrono::milliseconds run, const std::string& commands) {
        const auto stream = file("stream");
        const auto log = file("log");
        const auto command = fmt::format(
            "QEMU_AUDIO_DRV=none exec {} -display none -accel tcg -m 64 -net none -monitor stdio {} {} "
            "-drive file={},format=raw,if=ide,index=0 -drive file={},format=raw,media=cdrom,if=ide,index=2 "
            ">{} 2>&1",
            qemu, run.count() == 0 ? "-S" : "", arguments, file("disk"), file("cd"), log);
        FILE* monitor = ::popen(command.c_str(), "w");
        REQUIRE(monitor);
        std::this_thread::sleep_for(run);
        std::fputs(commands.c_str(), monitor);
        std::fputs(fmt::format("stop\nmigrate \"exec:cat >{}\"\nquit\n", stream).c_str(), monitor);
        const auto status = ::pclose(monitor);
        std::ifstream in(stream, std::ios::binary);
        const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
        std::ifstream said(log);
        const std::string text{std::istreambuf_iterator<char>(said), {}};
        REQUIRE_MESSAGE(status == 0, text);
        REQUIRE_MESSAGE(!bytes.empty(), text);
        Buffer out;
        append(out, std::string_view(bytes.data(), bytes.size()));
        fs::remove(stream);
        return out;
    }

  private:
    fs::path folder_;
};

void collect(const Struct& owner, std::set<std::string>& out) {
    for (const auto& field : owner.fields)
        for (const auto& element : field.elements) collect(element, out);
    for (const auto& sub : owner.subsections) {
        out.insert(sub.vmsd_name);
        collect(sub, out);
    }
}

/// Names of all sections (without their bus) and subsections that the schemas read as the description does.
std::set<std::string> compared(const Buffer& stream) {
    const auto snapshot = read_snapshot(stream);
    REQUIRE_MESSAGE(snapshot, vmferry::test::error_text(snapshot));
    DeviceTree known;
    for (const auto& section : snapshot->tree.sections) {
        if (section.idstr == "globalstate") continue;  // not in Xen's form
        CAPTURE(section.idstr);
        CHECK(schema::find_section(section.idstr) != nullptr);
        known.sections.push_back(section);
    }
    const auto form = write_device_model(known);
    const auto cut = read_device_model(form, 0);
    REQUIRE_MESSAGE(cut, vmferry::test::error_text(cut));
    REQUIRE(cut->sections.size() == known.sections.size());
    CHECK(write_device_model(*cut) == form);
    std::set<std::string> names;
    for (std::size_t i = 0; i < known.sections.size(); ++i) {
        CAPTURE(known.sections[i].idstr);
        CHECK(test::difference(known.sections[i].root, cut->sections[i].root, {"num_timers_save", "ports"}) ==
              "");
        names.insert(known.sections[i].root.vmsd_name);
        collect(known.sections[i].root, names);
    }
    return names;
}

void expect(const std::set<std::string>& names, std::initializer_list<const char*> wanted) {
    for (const auto* name : wanted) {
        CAPTURE(std::string(name));
        CHECK(names.contains(name));
    }
}

}  // namespace

TEST_CASE("sections with commands half done, queues half full and media changed") {
    Machine machine;
    // IDENTIFY with its data unread, a CDB half written, a changed medium, bytes in the UART's FIFO, keys in
    // the keyboard's queue, a keyboard command without its argument, a reset port armed, CPU hot-plug in use.
    const auto one = compared(machine.migrate("-M pc -serial null -smp 2,maxcpus=3", {},
                                              fmt::format(R"(
o /b 0x1f6 0xa0
o /b 0x1f7 0xec
o /b 0x176 0xa0
o /b 0x177 0xa0
eject ide1-cd0
change ide1-cd0 {} raw
o /b 0x3fa 0x01
o /b 0x3fc 0x10
o /b 0x3f8 0x41
o /b 0x3f8 0x42
o /b 0x60 0xed
o /b 0x60 0x02
sendkey a
sendkey b
o /b 0x64 0xd1
o /b 0x60 0xdd
o /b 0xcf9 0x02
o /b 0xaf00 0
)",
                                                          machine.file("cd2"))));
    expect(one, {"ide_drive/pio_state", "ide_drive/atapi/gesn_state", "serial/recv_fifo",
                 "serial/fifo_timeout_timer", "ps2kbd/ledstate", "ps2kbd/command_reply_queue",
                 "pckbd_outport", "pckbd/extended_state", "PIIX3/rcr", "piix4_pm/memhp", "piix4_pm/cpuhp",
                 "fdrive/media_rate", "fw_cfg/dma", "fw_cfg/acpi_mr", "apic_sipi"});

    // An SMBus EEPROM written, a DMA command that waits for its controller, an interrupt of the UART's
    // transmitter, a floppy command whose result has not come, an open tray.
    const auto two = compared(machine.migrate(
        fmt::format("-M pc -serial null -drive if=floppy,file={},format=raw", machine.file("floppy")), {}, R"(
o /l 0xcf8 0x80000bd0
o /l 0xcfc 0x00090000
o /b 0xb104 0xa0
o /b 0xb103 0x05
o /b 0xb105 0x77
o /b 0xb102 0x48
i /b 0xb100
o /l 0xcf8 0x80000920
o /l 0xcfc 0xc001
o /l 0xcf8 0x80000904
o /l 0xcfc 0x5
o /b 0xc000 0x01
o /b 0xc002 0x04
o /b 0x1f6 0xe0
o /b 0x1f2 0x01
o /b 0x1f7 0xc8
o /b 0x3fb 0x03
o /b 0x3f9 0x0f
o /b 0x3fc 0x10
o /b 0x3f8 0x41
o /b 0x3f2 0x1c
o /b 0x3f5 0x4a
o /b 0x3f5 0x00
eject -f ide1-cd0
)"));
    expect(two, {"smbus-eeprom", "serial/thr_ipending", "fdc/result_timer", "ide_bus/error",
                 "ide_drive/tray_state"});
}

TEST_CASE("machines full of devices, while the firmware is at work") {
    Machine machine;
    const auto buses = fmt::format(
        "-audiodev none,id=au -device piix3-usb-uhci,id=u -device usb-tablet,bus=u.0 -device usb-kbd,bus=u.0 "
        "-device usb-ehci,id=e -device nec-usb-xhci,id=x -device usb-mouse,bus=x.0 -device usb-hub,bus=x.0 "
        "-device qemu-xhci -device ich9-ahci,id=ah -drive if=none,id=d1,file={},format=raw "
        "-device ide-hd,bus=ah.0,drive=d1 -device intel-hda,id=h -device hda-duplex,bus=h.0,audiodev=au "
        "-device ES1370,audiodev=au -device AC97,audiodev=au -device cirrus-vga -vga none",
        machine.file("disk2"));
    const auto nics = fmt::format(
        "-device rtl8139 -device ne2k_pci -device pcnet -device i82551 -device i82559er -device e1000e "
        "-device e1000 "
        "-serial null -serial null -parallel null -smp 3 -device lsi53c895a,id=s "
        "-drive if=none,id=d1,file={},format=raw -device scsi-hd,bus=s.0,drive=d1 -device pci-serial "
        "-object memory-backend-ram,id=m,size=1M,share=on -device ivshmem-plain,memdev=m,master=on -vga std",
        machine.file("disk2"));
    using std::chrono::milliseconds;
    // Xen's "xenfv" has the properties of pc-i440fx-3.1, which leaves out the SMBus state and PCIHost.
    for (const auto* type : {"pc-i440fx-3.1", "pc"}) {
        CAPTURE(std::string(type));
        const auto one =
            compared(machine.migrate(fmt::format("-M {} {}", type, buses), milliseconds(900), ""));
        expect(one, {"uhci", "usb-ptr", "usb-kbd", "ehci", "xhci", "usb-hub", "ich9_ahci", "intel-hda",
                     "hda-audio", "hda-audio-stream/buffer", "es1370", "ac97", "cirrus_vga", "vmmouse",
                     "kvm-tpr-opt"});
        const auto two =
            compared(machine.migrate(fmt::format("-M {} {}", type, nics), milliseconds(1800), ""));
        expect(two, {"rtl8139", "ne2000", "pcnet", "i82551", "i82559er", "eeprom", "e1000e", "e1000",
                     "e1000/mit_state", "e1000/full_mac_state", "e1000/tx_tso_state", "parallel_isa",
                     "lsiscsi", "scsi-disk", "pci-serial", "ivshmem-plain", "vga"});
        CHECK(one.contains("PCIHost") == (std::string_view(type) == "pc"));
    }
}

}  // namespace vmferry::qemu
