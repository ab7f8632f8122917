#include "parsers/qemu/schema.hpp"

namespace vmferry::qemu::schema {
namespace {

constexpr FieldSpec serial_state_fields[] = {u16("divider"), u8("rbr"),        u8("ier"), u8("iir"),
                                             u8("lcr"),      u8("mcr"),        u8("lsr"), u8("msr"),
                                             u8("scr"),      u8("fcr_vmstate")};
constexpr FieldSpec thr_ipending_fields[] = {i32("thr_ipending")};
constexpr Spec thr_ipending_vmsd{"serial/thr_ipending", 1, 1, thr_ipending_fields};
constexpr FieldSpec tsr_fields[] = {u32("tsr_retry"), u8("thr"), u8("tsr")};
constexpr Spec tsr_vmsd{"serial/tsr", 1, 1, tsr_fields};
// A FIFO of a 16550A holds 16 bytes; the count of the data is not in the stream.
constexpr FieldSpec fifo8_fields[] = {buffer("data", 16), u32("head").between(0, 15),
                                      u32("num").between(0, 16)};
constexpr Spec fifo8_vmsd{"Fifo8", 1, 1, fifo8_fields};
constexpr FieldSpec recv_fifo_fields[] = {structure("recv_fifo", fifo8_vmsd)};
constexpr Spec recv_fifo_vmsd{"serial/recv_fifo", 1, 1, recv_fifo_fields};
constexpr FieldSpec xmit_fifo_fields[] = {structure("xmit_fifo", fifo8_vmsd)};
constexpr Spec xmit_fifo_vmsd{"serial/xmit_fifo", 1, 1, xmit_fifo_fields};
constexpr FieldSpec fifo_timeout_timer_fields[] = {timer("fifo_timeout_timer")};
constexpr Spec fifo_timeout_timer_vmsd{"serial/fifo_timeout_timer", 1, 1, fifo_timeout_timer_fields};
constexpr FieldSpec timeout_ipending_fields[] = {i32("timeout_ipending")};
constexpr Spec timeout_ipending_vmsd{"serial/timeout_ipending", 1, 1, timeout_ipending_fields};
constexpr FieldSpec poll_fields[] = {i32("poll_msl"), timer("modem_status_poll")};
constexpr Spec poll_vmsd{"serial/poll", 1, 1, poll_fields};
constexpr const Spec* serial_subsections[] = {
    &thr_ipending_vmsd,     &tsr_vmsd, &recv_fifo_vmsd, &xmit_fifo_vmsd, &fifo_timeout_timer_vmsd,
    &timeout_ipending_vmsd, &poll_vmsd};
constexpr Spec serial_state_vmsd{"serial", 3, 3, serial_state_fields, serial_subsections};

constexpr FieldSpec serial_fields[] = {structure("state", serial_state_vmsd)};
constexpr Spec serial_vmsd{"serial", 3, 3, serial_fields};

constexpr FieldSpec parallel_isa_fields[] = {u8("state.dataw"),        u8("state.datar"),
                                             u8("state.status"),       u8("state.control"),
                                             i32("state.irq_pending"), i32("state.epp_timeout")};
constexpr Spec parallel_isa_vmsd{"parallel_isa", 1, 1, parallel_isa_fields};

constexpr FieldSpec fdrive_media_rate_fields[] = {u8("media_rate")};
constexpr Spec fdrive_media_rate_vmsd{"fdrive/media_rate", 1, 1, fdrive_media_rate_fields};

constexpr FieldSpec media_changed_fields[] = {u8("media_changed")};
constexpr Spec fdrive_media_changed_vmsd{"fdrive/media_changed", 1, 1, media_changed_fields};
constexpr FieldSpec perpendicular_fields[] = {u8("perpendicular")};
constexpr Spec fdrive_perpendicular_vmsd{"fdrive/perpendicular", 1, 1, perpendicular_fields};

constexpr FieldSpec fdrive_fields[] = {u8("head"), u8("track"), u8("sect")};
constexpr const Spec* fdrive_subsections[] = {&fdrive_media_changed_vmsd, &fdrive_media_rate_vmsd,
                                              &fdrive_perpendicular_vmsd};
constexpr Spec fdrive_vmsd{"fdrive", 1, 1, fdrive_fields, fdrive_subsections};

constexpr FieldSpec fdc_state_fields[] = {u8("sra"),
                                          u8("srb"),
                                          u8("dor_vmstate"),
                                          u8("tdr"),
                                          u8("dsr"),
                                          u8("msr"),
                                          u8("status0"),
                                          u8("status1"),
                                          u8("status2"),
                                          u8("fifo").array(512),
                                          u32("data_pos"),
                                          u32("data_len"),
                                          u8("data_state"),
                                          u8("data_dir"),
                                          u8("eot"),
                                          u8("timer0"),
                                          u8("timer1"),
                                          u8("precomp_trk"),
                                          u8("config"),
                                          u8("lock"),
                                          u8("pwrd"),
                                          raw("num_floppies", "uint8 equal", 1).between(2, 2),
                                          structure("drives", fdrive_vmsd).array(2)};
constexpr FieldSpec reset_sensei_fields[] = {i32("reset_sensei")};
constexpr Spec fdc_reset_sensei_vmsd{"fdc/reset_sensei", 1, 1, reset_sensei_fields};
constexpr FieldSpec result_timer_fields[] = {timer("result_timer")};
constexpr Spec fdc_result_timer_vmsd{"fdc/result_timer", 1, 1, result_timer_fields};
constexpr FieldSpec phase_fields[] = {u8("phase")};
constexpr Spec fdc_phase_vmsd{"fdc/phase", 1, 1, phase_fields};
constexpr const Spec* fdc_subsections[] = {&fdc_reset_sensei_vmsd, &fdc_result_timer_vmsd, &fdc_phase_vmsd};
constexpr Spec fdc_state_vmsd{"fdc", 2, 2, fdc_state_fields, fdc_subsections};

constexpr FieldSpec fdc_fields[] = {structure("state", fdc_state_vmsd)};
constexpr Spec fdc_vmsd{"fdc", 2, 2, fdc_fields};

constexpr FieldSpec ps2_common_state_fields[] = {i32("write_cmd"), i32("queue.rptr"), i32("queue.wptr"),
                                                 i32("queue.count"), buffer("queue.data", 256)};
constexpr Spec ps2_common_state_vmsd{"PS2 Common State", 3, 3, ps2_common_state_fields};

constexpr FieldSpec ps2kbd_fields[] = {structure("parent_obj", ps2_common_state_vmsd), i32("scan_enabled"),
                                       i32("translate"), i32("scancode_set")};
constexpr FieldSpec ps2kbd_ledstate_fields[] = {i32("ledstate")};
constexpr Spec ps2kbd_ledstate_vmsd{"ps2kbd/ledstate", 3, 2, ps2kbd_ledstate_fields};
constexpr FieldSpec ps2kbd_high_bit_fields[] = {flag("need_high_bit")};
constexpr Spec ps2kbd_high_bit_vmsd{"ps2kbd/need_high_bit", 1, 1, ps2kbd_high_bit_fields};
constexpr FieldSpec ps2kbd_reply_fields[] = {i32("parent_obj.queue.cwptr")};
constexpr Spec ps2kbd_reply_vmsd{"ps2kbd/command_reply_queue", 0, 0, ps2kbd_reply_fields};
constexpr const Spec* ps2kbd_subsections[] = {&ps2kbd_ledstate_vmsd, &ps2kbd_high_bit_vmsd,
                                              &ps2kbd_reply_vmsd};
constexpr Spec ps2kbd_vmsd{"ps2kbd", 3, 3, ps2kbd_fields, ps2kbd_subsections};

constexpr FieldSpec ps2mouse_fields[] = {structure("parent_obj", ps2_common_state_vmsd),
                                         u8("mouse_status"),
                                         u8("mouse_resolution"),
                                         u8("mouse_sample_rate"),
                                         u8("mouse_wrap"),
                                         u8("mouse_type"),
                                         u8("mouse_detect_state"),
                                         i32("mouse_dx"),
                                         i32("mouse_dy"),
                                         i32("mouse_dz"),
                                         u8("mouse_buttons")};
constexpr Spec ps2mouse_vmsd{"ps2mouse", 2, 2, ps2mouse_fields};

constexpr FieldSpec pckbd_extended_state_fields[] = {u32("migration_flags"), u32("obsrc"), u8("obdata"),
                                                     u8("cbdata")};
constexpr Spec pckbd_extended_state_vmsd{"pckbd/extended_state", 0, 0, pckbd_extended_state_fields};

constexpr FieldSpec pckbd_outport_fields[] = {u8("outport")};
constexpr Spec pckbd_outport_vmsd{"pckbd_outport", 1, 1, pckbd_outport_fields};

constexpr FieldSpec pckbd_state_fields[] = {u8("write_cmd"), u8("status"), u8("mode"), u8("pending_tmp")};
constexpr const Spec* pckbd_state_subsections[] = {&pckbd_outport_vmsd, &pckbd_extended_state_vmsd};
constexpr Spec pckbd_state_vmsd{"pckbd", 3, 3, pckbd_state_fields, pckbd_state_subsections};

constexpr FieldSpec pckbd_fields[] = {structure("kbd", pckbd_state_vmsd)};
constexpr Spec pckbd_vmsd{"pckbd", 3, 3, pckbd_fields};

constexpr FieldSpec vmmouse_fields[] = {raw("queue_size", "int32 equal", 4).between(1024, 1024),
                                        u32("queue").array(1024), u16("nb_queue"), u16("status"),
                                        u8("absolute")};
constexpr Spec vmmouse_vmsd{"vmmouse", 0, 0, vmmouse_fields};

constexpr FieldSpec port92_fields[] = {u8("outport")};
constexpr Spec port92_vmsd{"port92", 1, 1, port92_fields};

constexpr FieldSpec pcspk_fields[] = {u8("data_on"), u8("dummy_refresh_clock")};
constexpr Spec pcspk_vmsd{"pcspk", 1, 1, pcspk_fields};

constexpr FieldSpec pci_serial_fields[] = {structure("dev", pci_device),
                                           structure("state", serial_state_vmsd)};
constexpr Spec pci_serial_vmsd{"pci-serial", 1, 1, pci_serial_fields};

constexpr SectionSpec sections[] = {{&serial_vmsd},   {&parallel_isa_vmsd}, {&fdc_vmsd},     {&ps2kbd_vmsd},
                                    {&ps2mouse_vmsd}, {&pckbd_vmsd},        {&vmmouse_vmsd}, {&port92_vmsd},
                                    {&pcspk_vmsd},    {&pci_serial_vmsd}};

}  // namespace

std::span<const SectionSpec> legacy_sections() {
    return sections;
}

}  // namespace vmferry::qemu::schema
