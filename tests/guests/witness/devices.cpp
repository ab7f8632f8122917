// The devices behind I/O ports: values of their own for registers that matter to nobody here, and the report.
// Data sheets: 8259A, 8254, 8237A, 8042, 16550, MC146818A, ATA/ATAPI-6, VGA; ACPI 6.5 chapter 4 for the power
// management registers.
#include <initializer_list>

#include "acpi.hpp"
#include "console.hpp"
#include "machine.hpp"
#include "pci.hpp"
#include "report.hpp"

namespace {

void pic_report() {
    constexpr struct {
        const char* name;
        uint16_t port;
    } PICS[] = {{"master", 0x20}, {"slave", 0xA0}};
    for (const auto& pic : PICS) {
        const InterruptsOff off;  // their handler selects the register to read too
        print("pic.%s.imr %x\n", pic.name, in(pic.port + 1));
        out<uint8_t>(pic.port, 0x0B);
        print("pic.%s.isr %x\n", pic.name, in(pic.port));
        out<uint8_t>(pic.port, 0x0A);
        print("pic.%s.irr %x\n", pic.name, in(pic.port));
    }
    print("pic.elcr %x\n", in(0x4D0) | in(0x4D1) << 8);
}

void pit_report() {
    for (unsigned channel = 0; channel < 3; ++channel) {
        out<uint8_t>(0x43, 0xC0 | 2 << channel);  // read back: status, then count
        const uint8_t status = in(0x40 + channel);
        const uint8_t low = in(0x40 + channel);
        // Bit 7 is the output, bit 6 whether a new count was loaded: both follow the count.
        print("pit.%u.status %x\npit.%u.output %x\npit.%u.count %x\n", channel, status & 0x3F, channel,
              status >> 6, channel, low | in(0x40 + channel) << 8);
    }
    // Bit 4 is the refresh, bit 5 channel 2's output.
    print("port61 %x\n", in(0x61) & 0xCF);
    print("port92 %x\n", in(0x92));
}

void rtc_report() {
    uint64_t time = 0;
    for (int i = 0; i < 4; ++i) {  // until two readings agree, so that none is of the moment when it moves on
        const uint64_t last = time;
        time = 0;
        for (const uint8_t field : {9, 8, 7, 4, 2, 0}) time = time << 8 | rtc_read(field);
        if (time == last) break;
    }
    print("rtc.time %12x\n", time);
    print("rtc.alarm %2x%2x%2x\n", rtc_read(5), rtc_read(3), rtc_read(1));
    print("rtc.a %x\nrtc.b %x\nrtc.d %x\n", rtc_read(0x0A) & 0x7F, rtc_read(0x0B), rtc_read(0x0D));
    for (unsigned i = 0x0E; i < 0x80; ++i)
        if (const unsigned value = rtc_read(i)) print("cmos.%2x %x\n", i, value);
}

void pm_report() {
    print("pm.timer_port %x\n", clock_port());
    if (acpi.pm1_event)
        print("pm1.status %x\npm1.enable %x\n", in<uint16_t>(acpi.pm1_event),
              in<uint16_t>(acpi.pm1_event + 2));
    if (acpi.pm1_control) print("pm1.control %x\n", in<uint16_t>(acpi.pm1_control));
    for (unsigned i = 0; acpi.gpe0 && i < acpi.gpe0_size / 2; ++i)
        print("gpe0.status.%u %x\ngpe0.enable.%u %x\n", i, in(acpi.gpe0 + i), i,
              in(acpi.gpe0 + acpi.gpe0_size / 2 + i));
}

void dma_report() {
    constexpr uint16_t PAGES[] = {0x87, 0x83, 0x81, 0x82, 0x8F, 0x8B, 0x89, 0x8A};
    for (unsigned channel = 0; channel < 8; ++channel) {
        const bool second = channel >= 4;
        const unsigned shift = second ? 1 : 0;
        const uint16_t base = second ? 0xC0 : 0;
        out<uint8_t>(base + (0x0C << shift), 0);  // the next byte is the low one
        const uint16_t address = base + ((channel & 3) * 2 << shift),
                       count = base + (((channel & 3) * 2 + 1) << shift);
        const unsigned a = in(address), a_high = in(address), c = in(count), c_high = in(count);
        print("dma.%u.address %x\ndma.%u.count %x\ndma.%u.page %x\n", channel, a | a_high << 8, channel,
              c | c_high << 8, channel, in(PAGES[channel]));
    }
    print("dma.mask.0 %x\ndma.mask.1 %x\n", in(0x0F), in(0xDE));
}

// Command 20 reads the command byte; the output buffer is emptied first, bounded, and so is the wait.
void keyboard_report() {
    for (int i = 0; i < 16 && in(0x64) & 1; ++i) in(0x60);
    out<uint8_t>(0x64, 0x20);
    for (int i = 0; i < 1000 && !(in(0x64) & 1); ++i)
        ;
    if (in(0x64) & 1)
        print("i8042.command %x\n", in(0x60));
    else
        print("i8042.command none\n");
    print("i8042.status %x\n", in(0x64));
}

void uart_report() {
    print("uart.ier %x\nuart.lcr %x\nuart.mcr %x\nuart.msr %x\nuart.scratch %x\n", in(0x3F9), in(0x3FB),
          in(0x3FC), in(0x3FE), in(0x3FF));
    print("uart.fifo %x\n", in(0x3FA) & 0xC0);
    out<uint8_t>(0x3FB, in(0x3FB) | 0x80);
    const unsigned divisor = in(0x3F8) | in(0x3F9) << 8;
    out<uint8_t>(0x3FB, in(0x3FB) & 0x7F);
    print("uart.divisor %x\n", divisor);
}

void ide_report() {
    constexpr uint16_t BASES[] = {0x1F0, 0x170};
    for (unsigned i = 0; i < 2; ++i) {
        print("ide.%u.status %x\n", i,
              in(BASES[i] + 0x206));  // the alternate one: no interrupt is acknowledged
        print("ide.%u.error %x\nide.%u.count %x\nide.%u.sector %x\nide.%u.cylinder %x\nide.%u.device %x\n", i,
              in(BASES[i] + 1), i, in(BASES[i] + 2), i, in(BASES[i] + 3), i,
              in(BASES[i] + 4) | in(BASES[i] + 5) << 8, i, in(BASES[i] + 6));
    }
}

void indexed(const char* name, uint16_t port, unsigned count) {
    const uint8_t index = in(port);
    for (unsigned i = 0; i < count; ++i) {
        out<uint8_t>(port, i);
        print("vga.%s.%2x %x\n", name, i, in(port + 1));
    }
    out<uint8_t>(port, index);
}

void vga_report() {
    const uint8_t misc = in(0x3CC);
    print("vga.misc %x\n", misc);
    if (misc == 0xFF) return;  // no adapter
    const uint16_t base = misc & 1 ? 0x3D0 : 0x3B0;
    indexed("crtc", base + 4, 0x19);
    indexed("sequencer", 0x3C4, 5);
    indexed("graphics", 0x3CE, 9);
    for (unsigned i = 0; i < 0x15; ++i) {
        in(base + 10);           // the next access is the index
        out<uint8_t>(0x3C0, i);  // without bit 5 the palette is accessible
        print("vga.attribute.%2x %x\n", i, in(0x3C1));
    }
    in(base + 10);
    out<uint8_t>(0x3C0, 0x20);
    out<uint8_t>(0x3C7, 0);
    uint32_t sum = 0;
    for (unsigned i = 0; i < 768; ++i) sum = sum * 31 + in(0x3C9);
    print("vga.palette_hash %x\n", sum);
}

}  // namespace

void devices_start() {
    for (unsigned channel = 1; channel < 4; ++channel) {  // which stay masked
        out<uint8_t>(0x0C, 0);
        for (const unsigned value : {0x1200 + channel, 0x3400 + channel}) {
            const uint16_t port = 2 * channel + (value >= 0x3400);
            out<uint8_t>(port, value);
            out<uint8_t>(port, value >> 8);
        }
    }
    out<uint8_t>(0x83, 0x31);
    out<uint8_t>(0x81, 0x32);
    out<uint8_t>(0x82, 0x33);
    rtc_write(1, 0x57);  // the alarm, which is off
    rtc_write(3, 0x46);
    rtc_write(5, 0x13);
    rtc_write(0x7A, 0xA7);  // nobody's
    // Their interrupt, the SCI, is masked.
    if (acpi.pm1_event) out<uint16_t>(acpi.pm1_event + 2, 0x0500);
    if (acpi.gpe0) out<uint8_t>(acpi.gpe0 + acpi.gpe0_size / 2, 0x05);
}

void devices_report() {
    pic_report();
    pit_report();
    rtc_report();
    pm_report();
    dma_report();
    keyboard_report();
    uart_report();
    ide_report();
    pci_report();
    vga_report();
}
