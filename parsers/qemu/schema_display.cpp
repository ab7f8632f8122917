#include "parsers/qemu/schema.hpp"

namespace vmferry::qemu::schema {
namespace {

constexpr FieldSpec vga_state_fields[] = {u32("latch"),
                                          u8("sr_index"),
                                          buffer("sr", 8),
                                          u8("gr_index"),
                                          buffer("gr", 16),
                                          u8("ar_index"),
                                          buffer("ar", 21),
                                          i32("ar_flip_flop"),
                                          u8("cr_index"),
                                          buffer("cr", 256),
                                          u8("msr"),
                                          u8("fcr"),
                                          u8("st00"),
                                          u8("st01"),
                                          u8("dac_state"),
                                          u8("dac_sub_index"),
                                          u8("dac_read_index"),
                                          u8("dac_write_index"),
                                          buffer("dac_cache", 3),
                                          buffer("palette", 768),
                                          i32("bank_offset"),
                                          raw("is_vbe_vmstate", "uint8 equal", 1).between(1, 1),
                                          u16("vbe_index"),
                                          u16("vbe_regs").array(10),
                                          u32("vbe_start_addr"),
                                          u32("vbe_line_offset"),
                                          u32("vbe_bank_mask")};
constexpr FieldSpec vga_endian_fields[] = {flag("big_endian_fb")};
constexpr Spec vga_endian_vmsd{"vga.endian", 1, 1, vga_endian_fields};
constexpr const Spec* vga_subsections[] = {&vga_endian_vmsd};
constexpr Spec vga_state_vmsd{"vga", 2, 2, vga_state_fields, vga_subsections};

constexpr FieldSpec vga_fields[] = {structure("dev", pci_device), structure("vga", vga_state_vmsd)};
constexpr Spec vga_vmsd{"vga", 2, 2, vga_fields};

constexpr FieldSpec cirrus_vga_state_fields[] = {u32("vga.latch"),
                                                 u8("vga.sr_index"),
                                                 buffer("vga.sr", 256),
                                                 u8("vga.gr_index"),
                                                 u8("cirrus_shadow_gr0"),
                                                 u8("cirrus_shadow_gr1"),
                                                 buffer("vga.gr", 254),
                                                 u8("vga.ar_index"),
                                                 buffer("vga.ar", 21),
                                                 i32("vga.ar_flip_flop"),
                                                 u8("vga.cr_index"),
                                                 buffer("vga.cr", 256),
                                                 u8("vga.msr"),
                                                 u8("vga.fcr"),
                                                 u8("vga.st00"),
                                                 u8("vga.st01"),
                                                 u8("vga.dac_state"),
                                                 u8("vga.dac_sub_index"),
                                                 u8("vga.dac_read_index"),
                                                 u8("vga.dac_write_index"),
                                                 buffer("vga.dac_cache", 3),
                                                 buffer("vga.palette", 768),
                                                 i32("vga.bank_offset"),
                                                 u8("cirrus_hidden_dac_lockindex"),
                                                 u8("cirrus_hidden_dac_data"),
                                                 u32("vga.hw_cursor_x"),
                                                 u32("vga.hw_cursor_y")};
constexpr Spec cirrus_vga_state_vmsd{"cirrus_vga", 2, 2, cirrus_vga_state_fields};

constexpr FieldSpec cirrus_vga_fields[] = {structure("dev", pci_device),
                                           structure("cirrus_vga", cirrus_vga_state_vmsd)};
constexpr Spec cirrus_vga_vmsd{"cirrus_vga", 2, 2, cirrus_vga_fields};

constexpr FieldSpec qxl_memslot_fields[] = {u64("slot.mem_start"), u64("slot.mem_end"), u32("active")};
constexpr Spec qxl_memslot_vmsd{"qxl-memslot", 21, 21, qxl_memslot_fields};

constexpr FieldSpec qxl_surface_fields[] = {u32("width"),  u32("height"),   i32("stride"),
                                            u32("format"), u32("position"), u32("mouse_mode"),
                                            u32("flags"),  u32("type"),     u64("mem")};
constexpr Spec qxl_surface_vmsd{"qxl-surface", 21, 21, qxl_surface_fields};

constexpr FieldSpec qxl_fields[] = {structure("pci", pci_device),
                                    structure("vga", vga_state_vmsd),
                                    u32("shadow_rom.mode"),
                                    u32("num_free_res"),
                                    u32("last_release_offset"),
                                    u32("mode"),
                                    u32("ssd.unique"),
                                    raw("num_memslots", "int32 equal", 4).between(8, 8),
                                    structure("guest_slots", qxl_memslot_vmsd).array(8),
                                    structure("guest_primary.surface", qxl_surface_vmsd),
                                    raw("ssd.num_surfaces", "int32 equal", 4).between(1024, 1024),
                                    u64("guest_surfaces.cmds").array(1024),
                                    u64("guest_cursor")};
constexpr FieldSpec monitors_config_fields[] = {u64("guest_monitors_config")};
constexpr Spec monitors_config_vmsd{"qxl/monitors-config", 1, 1, monitors_config_fields};
constexpr const Spec* qxl_subsections[] = {&monitors_config_vmsd};
constexpr Spec qxl_vmsd{"qxl", 21, 21, qxl_fields, qxl_subsections};

constexpr SectionSpec sections[] = {{&vga_vmsd}, {&cirrus_vga_vmsd}, {&qxl_vmsd}};

}  // namespace

std::span<const SectionSpec> display_sections() {
    return sections;
}

}  // namespace vmferry::qemu::schema
