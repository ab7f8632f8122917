#include "parsers/qemu/schema.hpp"

namespace vmferry::qemu::schema {
namespace {

constexpr FieldSpec pci_device_fields[] = {raw("version_id", "int32 le", 4).between(0, 2),
                                           raw("config[0]", "pci config", 256),
                                           raw("irq_state", "pci irq state", 16)};
constexpr FieldSpec pcie_device_fields[] = {raw("version_id", "int32 le", 4).between(0, 2),
                                            raw("config[1]", "pci config", 4096),
                                            raw("irq_state", "pci irq state", 16)};

}  // namespace

constexpr Spec pci_device{"PCIDevice", 2, 2, pci_device_fields};
constexpr Spec pcie_device{"PCIDevice", 2, 2, pcie_device_fields};

namespace {

constexpr FieldSpec fw_cfg_dma_fields[] = {u64("dma_addr")};
constexpr Spec fw_cfg_dma_vmsd{"fw_cfg/dma", 0, 0, fw_cfg_dma_fields};

constexpr FieldSpec fw_cfg_acpi_mr_fields[] = {u64("table_mr_size"), u64("linker_mr_size"),
                                               u64("rsdp_mr_size")};
constexpr Spec fw_cfg_acpi_mr_vmsd{"fw_cfg/acpi_mr", 1, 1, fw_cfg_acpi_mr_fields};

constexpr FieldSpec fw_cfg_fields[] = {u16("cur_entry"), u32("cur_offset[1]")};
constexpr const Spec* fw_cfg_subsections[] = {&fw_cfg_dma_vmsd, &fw_cfg_acpi_mr_vmsd};
constexpr Spec fw_cfg_vmsd{"fw_cfg", 2, 2, fw_cfg_fields, fw_cfg_subsections};

constexpr FieldSpec pcihost_fields[] = {u32("config_reg")};
constexpr Spec pcihost_vmsd{"PCIHost", 1, 1, pcihost_fields};

constexpr FieldSpec pcibus_fields[] = {raw("nirq", "int32 equal", 4).between(0, 1024),
                                       i32("irq_count").counted_by("nirq")};
constexpr Spec pcibus_vmsd{"PCIBUS", 1, 1, pcibus_fields};

constexpr FieldSpec i440fx_fields[] = {structure("parent_obj", pci_device), unused("unused", 1)};
constexpr Spec i440fx_vmsd{"I440FX", 3, 3, i440fx_fields};

constexpr FieldSpec dma_regs_fields[] = {i32("now").array(2), u16("base").array(2), u8("mode"), u8("page"),
                                         u8("pageh"),         u8("dack"),           u8("eop")};
constexpr Spec dma_regs_vmsd{"dma_regs", 1, 1, dma_regs_fields};

constexpr FieldSpec dma_fields[] = {u8("command"), u8("mask"), u8("flip_flop"), i32("dshift"),
                                    structure("regs", dma_regs_vmsd).array(4)};
constexpr Spec dma_vmsd{"dma", 1, 1, dma_fields};

constexpr FieldSpec piix3_fields[] = {structure("dev", pci_device), i32("pci_irq_levels_vmstate").array(4)};
constexpr FieldSpec piix3_rcr_fields[] = {u8("rcr")};
constexpr Spec piix3_rcr_vmsd{"PIIX3/rcr", 1, 1, piix3_rcr_fields};
constexpr const Spec* piix3_subsections[] = {&piix3_rcr_vmsd};
constexpr Spec piix3_vmsd{"PIIX3", 3, 3, piix3_fields, piix3_subsections};

constexpr FieldSpec i8259_fields[] = {u8("last_irr"),
                                      u8("irr"),
                                      u8("imr"),
                                      u8("isr"),
                                      u8("priority_add"),
                                      u8("irq_base"),
                                      u8("read_reg_select"),
                                      u8("poll"),
                                      u8("special_mask"),
                                      u8("init_state"),
                                      u8("auto_eoi"),
                                      u8("rotate_on_auto_eoi"),
                                      u8("special_fully_nested_mode"),
                                      u8("init4"),
                                      u8("single_mode"),
                                      u8("elcr")};
constexpr FieldSpec i8259_ltim_fields[] = {u8("ltim")};
constexpr Spec i8259_ltim_vmsd{"i8259/ltim", 1, 1, i8259_ltim_fields};
constexpr const Spec* i8259_subsections[] = {&i8259_ltim_vmsd};
constexpr Spec i8259_vmsd{"i8259", 1, 1, i8259_fields, i8259_subsections};

constexpr FieldSpec pit_channel_fields[] = {i32("count"),
                                            u16("latched_count"),
                                            u8("count_latched"),
                                            u8("status_latched"),
                                            u8("status"),
                                            u8("read_state"),
                                            u8("write_state"),
                                            u8("write_latch"),
                                            u8("rw_mode"),
                                            u8("mode"),
                                            u8("bcd"),
                                            u8("gate"),
                                            i64("count_load_time"),
                                            i64("next_transition_time")};
constexpr Spec pit_channel_vmsd{"pit channel", 2, 2, pit_channel_fields};

constexpr FieldSpec i8254_fields[] = {u32("channels[0].irq_disabled"),
                                      structure("channels", pit_channel_vmsd).array(3),
                                      i64("channels[0].next_transition_time")};
constexpr Spec i8254_vmsd{"i8254", 3, 3, i8254_fields};

constexpr FieldSpec ioapic_fields[] = {u8("id"), u8("ioregsel"), unused("unused", 8), u32("irr"),
                                       u64("ioredtbl").array(24)};
constexpr Spec ioapic_vmsd{"ioapic", 3, 3, ioapic_fields};

constexpr FieldSpec hpet_timer_fields[] = {u8("tn"),      u64("config"),   u64("cmp"),         u64("fsb"),
                                           u64("period"), u8("wrap_flag"), timer("qemu_timer")};
constexpr Spec hpet_timer_vmsd{"hpet_timer", 1, 1, hpet_timer_fields};

constexpr FieldSpec hpet_fields[] = {u64("config"), u64("isr"), u64("hpet_counter"),
                                     u8("num_timers").between(3, 32),
                                     structure("timer", hpet_timer_vmsd).counted_by("num_timers")};
constexpr FieldSpec hpet_rtc_irq_level_fields[] = {u8("rtc_irq_level")};
constexpr Spec hpet_rtc_irq_level_vmsd{"hpet/rtc_irq_level", 1, 1, hpet_rtc_irq_level_fields};
constexpr FieldSpec hpet_offset_fields[] = {u64("hpet_offset")};
constexpr Spec hpet_offset_vmsd{"hpet/offset", 1, 1, hpet_offset_fields};
constexpr const Spec* hpet_subsections[] = {&hpet_rtc_irq_level_vmsd, &hpet_offset_vmsd};
constexpr Spec hpet_vmsd{"hpet", 2, 2, hpet_fields, hpet_subsections};

constexpr FieldSpec mc146818rtc_fields[] = {
    buffer("cmos_data", 128),  u8("cmos_index"),        unused("unused[0]", 28), timer("periodic_timer"),
    i64("next_periodic_time"), unused("unused[1]", 24), u32("irq_coalesced"),    u32("period"),
    u64("base_rtc"),           u64("last_update"),      i64("offset"),           timer("update_timer"),
    u64("next_alarm_time")};
constexpr FieldSpec rtc_reinject_fields[] = {u16("irq_reinject_on_ack_count")};
constexpr Spec rtc_reinject_vmsd{"mc146818rtc/irq_reinject_on_ack_count", 1, 1, rtc_reinject_fields};
constexpr const Spec* mc146818rtc_subsections[] = {&rtc_reinject_vmsd};
constexpr Spec mc146818rtc_vmsd{"mc146818rtc", 3, 3, mc146818rtc_fields, mc146818rtc_subsections};

constexpr FieldSpec i2c_bus_fields[] = {u8("saved_address")};
constexpr Spec i2c_bus_vmsd{"i2c_bus", 1, 1, i2c_bus_fields};

// piix4_pm's properties: is the SMBus state migrated (not for machine types up to 3.1, which Xen's "xenfv"
// is; these have no PCIHost section either, up to 5.0), does the hot-plug controller serve buses behind
// bridges (256 selectors instead of one), and does it know ACPI indices (since 6.2).
constexpr Layout smbus = 1;
constexpr Layout bridges = 2;
constexpr Layout index = 4;
constexpr LayoutChoice piix4_pm_layouts[] = {
    {0, "PCIHost"}, {bridges, "PCIHost"}, {smbus}, {smbus | bridges}, {smbus | bridges | index}};

constexpr FieldSpec i2c_slave_fields[] = {u8("address")};
constexpr Spec i2c_slave_vmsd{"I2CSlave", 1, 1, i2c_slave_fields};
constexpr FieldSpec smbus_device_fields[] = {structure("i2c", i2c_slave_vmsd), i32("mode"), i32("data_len"),
                                             u8("data_buf").array(34)};
constexpr Spec smbus_device_vmsd{"smbus-device", 1, 1, smbus_device_fields};
// There only after the guest has accessed it.
constexpr FieldSpec smbus_eeprom_fields[] = {structure("smbusdev", smbus_device_vmsd), u8("data").array(256),
                                             u8("offset"), flag("accessed")};
constexpr Spec smbus_eeprom_vmsd{"smbus-eeprom", 1, 1, smbus_eeprom_fields};

constexpr FieldSpec apm_state_fields[] = {u8("apmc"), u8("apms")};
constexpr Spec apm_state_vmsd{"APM State", 1, 1, apm_state_fields};

constexpr FieldSpec pmsmb_fields[] = {u8("smb_stat"),
                                      u8("smb_ctl"),
                                      u8("smb_cmd"),
                                      u8("smb_addr"),
                                      u8("smb_data0"),
                                      u8("smb_data1"),
                                      u32("smb_index"),
                                      u8("smb_data").array(32),
                                      u8("smb_auxctl"),
                                      u8("smb_blkdata"),
                                      flag("i2c_enable"),
                                      flag("op_done"),
                                      flag("in_i2c_block_read"),
                                      flag("start_transaction_on_status_read")};
constexpr Spec pmsmb_vmsd{"pmsmb", 1, 1, pmsmb_fields};

constexpr FieldSpec gpe_fields[] = {u16("sts"), u16("en")};
constexpr Spec gpe_vmsd{"gpe", 1, 1, gpe_fields};

constexpr FieldSpec acpi_pcihp_pci_status_fields[] = {u32("up"), u32("down")};
constexpr Spec acpi_pcihp_pci_status_vmsd{"acpi_pcihp_pci_status", 1, 1, acpi_pcihp_pci_status_fields};

// A machine with memory slots (-m N,slots=…) has their states here too; libxl never makes one.
constexpr FieldSpec memory_hotplug_state_fields[] = {u32("selector")};
constexpr Spec memory_hotplug_state_vmsd{"memory hotplug state", 1, 1, memory_hotplug_state_fields};

constexpr FieldSpec piix4_pm_memhp_fields[] = {structure("acpi_memory_hotplug", memory_hotplug_state_vmsd)};
constexpr Spec piix4_pm_memhp_vmsd{"piix4_pm/memhp", 1, 1, piix4_pm_memhp_fields};

constexpr FieldSpec cpu_hotplug_device_state_fields[] = {flag("is_inserting"), flag("is_removing"),
                                                         u32("ost_event"), u32("ost_status")};
constexpr Spec cpu_hotplug_device_state_vmsd{"CPU hotplug device state", 1, 1,
                                             cpu_hotplug_device_state_fields};

constexpr FieldSpec cpu_hotplug_state_fields[] = {
    u32("selector"), u8("command"), structure("devs", cpu_hotplug_device_state_vmsd).any_number()};
constexpr Spec cpu_hotplug_state_vmsd{"CPU hotplug state", 1, 1, cpu_hotplug_state_fields};

constexpr FieldSpec piix4_pm_cpuhp_fields[] = {structure("cpuhp_state", cpu_hotplug_state_vmsd)};
constexpr Spec piix4_pm_cpuhp_vmsd{"piix4_pm/cpuhp", 1, 1, piix4_pm_cpuhp_fields};

constexpr FieldSpec pci_status_fields[] = {u32("up"), u32("down")};
constexpr Spec pci_status_vmsd{"pci_status", 1, 1, pci_status_fields};

constexpr FieldSpec piix4_pm_fields[] = {
    structure("parent_obj", pci_device),
    u16("ar.pm1.evt.sts"),
    u16("ar.pm1.evt.en"),
    u16("ar.pm1.cnt.cnt"),
    structure("apm", apm_state_vmsd),
    structure("smb", pmsmb_vmsd).in(smbus),
    timer("ar.tmr.timer"),
    i64("ar.tmr.overflow_time"),
    structure("ar.gpe", gpe_vmsd),
    structure("acpi_pci_hotplug.acpi_pcihp_pci_status[0x0]", pci_status_vmsd).not_in(bridges),
    u32("acpi_pci_hotplug.hotplug_select").in(bridges),
    structure("acpi_pci_hotplug.acpi_pcihp_pci_status", acpi_pcihp_pci_status_vmsd).array(256).in(bridges),
    u32("acpi_pci_hotplug.acpi_index").in(bridges | index)};
constexpr const Spec* piix4_pm_subsections[] = {&piix4_pm_memhp_vmsd, &piix4_pm_cpuhp_vmsd};
constexpr Spec piix4_pm_vmsd{"piix4_pm", 3, 3, piix4_pm_fields, piix4_pm_subsections};

constexpr FieldSpec ivshmem_fields[] = {structure("parent_obj", pci_device), u32("intrstatus"),
                                        u32("intrmask")};
constexpr Spec ivshmem_vmsd{"ivshmem-plain", 0, 0, ivshmem_fields};

constexpr FieldSpec acpi_build_fields[] = {u8("patched")};
constexpr Spec acpi_build_vmsd{"acpi_build", 1, 1, acpi_build_fields};

constexpr FieldSpec platform_fields[] = {structure("parent_obj", pci_device), u8("flags")};
constexpr Spec platform_vmsd{"platform", 4, 4, platform_fields};

constexpr FieldSpec pvdevice_fields[] = {structure("parent_obj", pci_device)};
constexpr Spec pvdevice_vmsd{"xen-pvdevice", 1, 1, pvdevice_fields};

constexpr SectionSpec sections[] = {{&fw_cfg_vmsd},
                                    {&pcihost_vmsd},
                                    {&pcibus_vmsd},
                                    {&i440fx_vmsd},
                                    {&dma_vmsd},
                                    {&piix3_vmsd},
                                    {&i8259_vmsd},
                                    {&i8254_vmsd},
                                    {&ioapic_vmsd},
                                    {&hpet_vmsd},
                                    {&mc146818rtc_vmsd},
                                    {&i2c_bus_vmsd},
                                    {&piix4_pm_vmsd, piix4_pm_layouts},
                                    {&platform_vmsd},
                                    {&pvdevice_vmsd},
                                    {&acpi_build_vmsd},
                                    {&ivshmem_vmsd},
                                    {&smbus_eeprom_vmsd}};

}  // namespace

std::span<const SectionSpec> chipset_sections() {
    return sections;
}

}  // namespace vmferry::qemu::schema
