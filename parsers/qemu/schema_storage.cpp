#include "parsers/qemu/schema.hpp"

namespace vmferry::qemu::schema {
namespace {

// One name has an underscore, the other a slash.
constexpr FieldSpec bmdma_current_fields[] = {u32("cur_addr"), u32("cur_prd_last"), u32("cur_prd_addr"),
                                              u32("cur_prd_len")};
constexpr Spec bmdma_current_vmsd{"ide bmdma_current", 1, 1, bmdma_current_fields};
constexpr FieldSpec bmdma_status_fields[] = {u8("status")};
constexpr Spec bmdma_status_vmsd{"ide bmdma/status", 1, 1, bmdma_status_fields};
constexpr const Spec* bmdma_subsections[] = {&bmdma_current_vmsd, &bmdma_status_vmsd};

constexpr FieldSpec ide_bmdma_fields[] = {u8("cmd"),
                                          u8("migration_compat_status"),
                                          u32("addr"),
                                          i64("migration_retry_sector_num"),
                                          u32("migration_retry_nsector"),
                                          u8("migration_retry_unit")};
constexpr Spec ide_bmdma_vmsd{"ide bmdma", 3, 3, ide_bmdma_fields, bmdma_subsections};

constexpr FieldSpec ide_bus_error_fields[] = {i32("error_status"), i64("retry_sector_num").from(2),
                                              u32("retry_nsector").from(2), u8("retry_unit").from(2)};
constexpr Spec ide_bus_error_vmsd{"ide_bus/error", 2, 1, ide_bus_error_fields};
constexpr const Spec* ide_bus_subsections[] = {&ide_bus_error_vmsd};

constexpr FieldSpec ide_bus_fields[] = {u8("cmd"), u8("unit").between(0, 1)};
constexpr Spec ide_bus_vmsd{"ide_bus", 1, 1, ide_bus_fields, ide_bus_subsections};

// io_buffer is 256 sectors and 4 bytes, whatever part of it is in use.
constexpr FieldSpec pio_state_fields[] = {i32("req_nb_sectors"),       u8("io_buffer").array(256 * 512 + 4),
                                          i32("cur_io_buffer_offset"), i32("cur_io_buffer_len"),
                                          u8("end_transfer_fn_idx"),   i32("elementary_transfer_size"),
                                          i32("packet_transfer_size")};
constexpr Spec pio_state_vmsd{"ide_drive/pio_state", 1, 1, pio_state_fields};
constexpr FieldSpec tray_state_fields[] = {flag("tray_open"), flag("tray_locked")};
constexpr Spec tray_state_vmsd{"ide_drive/tray_state", 1, 1, tray_state_fields};
constexpr FieldSpec gesn_state_fields[] = {flag("events.new_media"), flag("events.eject_request")};
constexpr Spec gesn_state_vmsd{"ide_drive/atapi/gesn_state", 1, 1, gesn_state_fields};
constexpr const Spec* ide_drive_subsections[] = {&pio_state_vmsd, &tray_state_vmsd, &gesn_state_vmsd};

constexpr FieldSpec ide_drive_fields[] = {i32("mult_sectors"),
                                          i32("identify_set").between(0, 1),
                                          buffer("identify_data", 512).when("identify_set"),
                                          u8("feature"),
                                          u8("error"),
                                          u32("nsector"),
                                          u8("sector"),
                                          u8("lcyl"),
                                          u8("hcyl"),
                                          u8("hob_feature"),
                                          u8("hob_sector"),
                                          u8("hob_nsector"),
                                          u8("hob_lcyl"),
                                          u8("hob_hcyl"),
                                          u8("select"),
                                          u8("status"),
                                          u8("lba48"),
                                          u8("sense_key"),
                                          u8("asc"),
                                          u8("cdrom_changed")};
constexpr Spec ide_drive_vmsd{"ide_drive", 3, 3, ide_drive_fields, ide_drive_subsections};

constexpr FieldSpec ide_fields[] = {
    structure("parent_obj", pci_device), structure("bmdma", ide_bmdma_vmsd).array(2),
    structure("bus", ide_bus_vmsd).array(2), structure("bus[0].ifs", ide_drive_vmsd).array(2),
    structure("bus[1].ifs", ide_drive_vmsd).array(2)};
constexpr Spec ide_vmsd{"ide", 3, 3, ide_fields};

constexpr FieldSpec ncq_state_fields[] = {u32("sector_count"), u64("lba"),   u8("tag"),   u8("cmd"),
                                          u8("slot"),          flag("used"), flag("halt")};
constexpr Spec ncq_state_vmsd{"ncq state", 1, 1, ncq_state_fields};

constexpr FieldSpec ahci_port_fields[] = {structure("port", ide_bus_vmsd),
                                          structure("port.ifs[0]", ide_drive_vmsd),
                                          u32("port_state"),
                                          u32("finished"),
                                          u32("port_regs.lst_addr"),
                                          u32("port_regs.lst_addr_hi"),
                                          u32("port_regs.fis_addr"),
                                          u32("port_regs.fis_addr_hi"),
                                          u32("port_regs.irq_stat"),
                                          u32("port_regs.irq_mask"),
                                          u32("port_regs.cmd"),
                                          u32("port_regs.tfdata"),
                                          u32("port_regs.sig"),
                                          u32("port_regs.scr_stat"),
                                          u32("port_regs.scr_ctl"),
                                          u32("port_regs.scr_err"),
                                          u32("port_regs.scr_act"),
                                          u32("port_regs.cmd_issue"),
                                          flag("done_first_drq"),
                                          i32("busy_slot"),
                                          flag("init_d2h_sent"),
                                          structure("ncq_tfs", ncq_state_vmsd).array(32)};
constexpr Spec ahci_port_vmsd{"ahci port", 1, 1, ahci_port_fields};

constexpr FieldSpec ahci_fields[] = {structure("dev", ahci_port_vmsd).array(6),
                                     u32("control_regs.cap"),
                                     u32("control_regs.ghc"),
                                     u32("control_regs.irqstatus"),
                                     u32("control_regs.impl"),
                                     u32("control_regs.version"),
                                     u32("idp_index"),
                                     raw("ports", "int32 equal", 4).between(6, 6)};
constexpr Spec ahci_vmsd{"ahci", 1, 1, ahci_fields};

constexpr FieldSpec ich9_ahci_fields[] = {structure("parent_obj", pci_device), structure("ahci", ahci_vmsd)};
constexpr Spec ich9_ahci_vmsd{"ich9_ahci", 1, 1, ich9_ahci_fields};

constexpr FieldSpec scsi_sense_fields[] = {u8("sense").array(252 - 96)};
constexpr Spec scsi_sense_vmsd{"SCSIDevice/sense", 1, 1, scsi_sense_fields};
constexpr const Spec* scsi_device_subsections[] = {&scsi_sense_vmsd};
// Requests in flight have the layout of their host adapter: only an empty list (one byte 0) is accepted.
constexpr FieldSpec scsi_device_fields[] = {u8("unit_attention.key"),
                                            u8("unit_attention.asc"),
                                            u8("unit_attention.ascq"),
                                            flag("sense_is_ua"),
                                            u8("sense").array(96),
                                            u32("sense_len"),
                                            raw("requests", "scsi-requests", 1).between(0, 0)};
constexpr Spec scsi_device_vmsd{"SCSIDevice", 1, 1, scsi_device_fields, scsi_device_subsections};

constexpr FieldSpec scsi_disk_fields[] = {structure("qdev", scsi_device_vmsd),
                                          flag("media_changed"),
                                          flag("media_event"),
                                          flag("eject_request"),
                                          flag("tray_open"),
                                          flag("tray_locked")};
constexpr Spec scsi_disk_vmsd{"scsi-disk", 1, 1, scsi_disk_fields};

constexpr FieldSpec lsiscsi_fields[] = {structure("parent_obj", pci_device),
                                        i32("carry"),
                                        i32("status"),
                                        i32("msg_action"),
                                        i32("msg_len"),
                                        buffer("msg", 8),
                                        i32("waiting"),
                                        u32("dsa"),
                                        u32("temp"),
                                        u32("dnad"),
                                        u32("dbc"),
                                        u8("istat0"),
                                        u8("istat1"),
                                        u8("dcmd"),
                                        u8("dstat"),
                                        u8("dien"),
                                        u8("sist0"),
                                        u8("sist1"),
                                        u8("sien0"),
                                        u8("sien1"),
                                        u8("mbox0"),
                                        u8("mbox1"),
                                        u8("dfifo"),
                                        u8("ctest2"),
                                        u8("ctest3"),
                                        u8("ctest4"),
                                        u8("ctest5"),
                                        u8("ccntl0"),
                                        u8("ccntl1"),
                                        u32("dsp"),
                                        u32("dsps"),
                                        u8("dmode"),
                                        u8("dcntl"),
                                        u8("scntl0"),
                                        u8("scntl1"),
                                        u8("scntl2"),
                                        u8("scntl3"),
                                        u8("sstat0"),
                                        u8("sstat1"),
                                        u8("scid"),
                                        u8("sxfer"),
                                        u8("socl"),
                                        u8("sdid"),
                                        u8("ssid"),
                                        u8("sfbr"),
                                        u8("stest1"),
                                        u8("stest2"),
                                        u8("stest3"),
                                        u8("sidl"),
                                        u8("stime0"),
                                        u8("respid0"),
                                        u8("respid1"),
                                        u8("sbcl"),
                                        u32("mmrs"),
                                        u32("mmws"),
                                        u32("sfs"),
                                        u32("drs"),
                                        u32("sbms"),
                                        u32("dbms"),
                                        u32("dnad64"),
                                        u32("pmjad1"),
                                        u32("pmjad2"),
                                        u32("rbc"),
                                        u32("ua"),
                                        u32("ia"),
                                        u32("sbc"),
                                        u32("csbc"),
                                        buffer("scratch", 72),
                                        u8("sbr"),
                                        buffer("script_ram", 8192)};
constexpr Spec lsiscsi_vmsd{"lsiscsi", 1, 1, lsiscsi_fields};

constexpr SectionSpec sections[] = {{&ide_vmsd}, {&ich9_ahci_vmsd}, {&lsiscsi_vmsd}, {&scsi_disk_vmsd}};

}  // namespace

std::span<const SectionSpec> storage_sections() {
    return sections;
}

}  // namespace vmferry::qemu::schema
