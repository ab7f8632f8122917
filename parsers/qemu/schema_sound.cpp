#include "parsers/qemu/schema.hpp"

namespace vmferry::qemu::schema {
namespace {

constexpr FieldSpec es1370_channel_fields[] = {u32("shift"), u32("leftover"), u32("scount"),
                                               u32("frame_addr"), u32("frame_cnt")};
constexpr Spec es1370_channel_vmsd{"es1370_channel", 2, 2, es1370_channel_fields};

constexpr FieldSpec es1370_fields[] = {structure("dev", pci_device),
                                       structure("chan", es1370_channel_vmsd).array(3),
                                       u32("ctl"),
                                       u32("status"),
                                       u32("mempage"),
                                       u32("codec"),
                                       u32("sctl")};
constexpr Spec es1370_vmsd{"es1370", 2, 2, es1370_fields};

constexpr FieldSpec ac97_bm_regs_fields[] = {u32("bdbar"),   u8("civ"),        u8("lvi"), u16("sr"),
                                             u16("picb"),    u8("piv"),        u8("cr"),  u32("bd_valid"),
                                             u32("bd.addr"), u32("bd.ctl_len")};
constexpr Spec ac97_bm_regs_vmsd{"ac97_bm_regs", 1, 1, ac97_bm_regs_fields};

constexpr FieldSpec ac97_fields[] = {structure("dev", pci_device),
                                     u32("glob_cnt"),
                                     u32("glob_sta"),
                                     u32("cas"),
                                     structure("bm_regs", ac97_bm_regs_vmsd).array(3),
                                     buffer("mixer_data", 256)};
constexpr Spec ac97_vmsd{"ac97", 3, 3, ac97_fields};

// The first 20 bytes are properties, not state; 7.2 still gives them names.
constexpr FieldSpec sb16_fields[] = {unused("unused", 20),
                                     i32("in_index"),
                                     i32("out_data_len"),
                                     i32("fmt_stereo"),
                                     i32("fmt_signed"),
                                     i32("fmt_bits"),
                                     u32("fmt"),
                                     i32("dma_auto"),
                                     i32("block_size"),
                                     i32("fifo"),
                                     i32("freq"),
                                     i32("time_const"),
                                     i32("speaker"),
                                     i32("needed_bytes"),
                                     i32("cmd"),
                                     i32("use_hdma"),
                                     i32("highspeed"),
                                     i32("can_write"),
                                     i32("v2x6"),
                                     u8("csp_param[0]"),
                                     u8("csp_value"),
                                     u8("csp_mode"),
                                     u8("csp_param[1]"),
                                     buffer("csp_regs", 256),
                                     u8("csp_index"),
                                     buffer("csp_reg83", 4),
                                     i32("csp_reg83r"),
                                     i32("csp_reg83w"),
                                     buffer("in2_data", 10),
                                     buffer("out_data", 50),
                                     u8("test_reg"),
                                     u8("last_read_byte"),
                                     i32("nzero"),
                                     i32("left_till_irq"),
                                     i32("dma_running"),
                                     i32("bytes_per_second"),
                                     i32("align"),
                                     i32("mixer_nreg"),
                                     buffer("mixer_regs", 256)};
constexpr Spec sb16_vmsd{"sb16", 1, 1, sb16_fields};

constexpr FieldSpec intel_hda_stream_fields[] = {u32("ctl"), u32("lpib"),       u32("cbl"),       u32("lvi"),
                                                 u32("fmt"), u32("bdlp_lbase"), u32("bdlp_ubase")};
constexpr Spec intel_hda_stream_vmsd{"intel-hda-stream", 1, 1, intel_hda_stream_fields};

constexpr FieldSpec intel_hda_fields[] = {structure("pci", pci_device),
                                          u32("g_ctl"),
                                          u32("wake_en"),
                                          u32("state_sts"),
                                          u32("int_ctl"),
                                          u32("int_sts"),
                                          u32("wall_clk"),
                                          u32("corb_lbase"),
                                          u32("corb_ubase"),
                                          u32("corb_rp"),
                                          u32("corb_wp"),
                                          u32("corb_ctl"),
                                          u32("corb_sts"),
                                          u32("corb_size"),
                                          u32("rirb_lbase"),
                                          u32("rirb_ubase"),
                                          u32("rirb_wp"),
                                          u32("rirb_cnt"),
                                          u32("rirb_ctl"),
                                          u32("rirb_sts"),
                                          u32("rirb_size"),
                                          u32("dp_lbase"),
                                          u32("dp_ubase"),
                                          u32("icw"),
                                          u32("irr"),
                                          u32("ics"),
                                          structure("st", intel_hda_stream_vmsd).array(8),
                                          u32("rirb_count"),
                                          i64("wall_base_ns")};
constexpr Spec intel_hda_vmsd{"intel-hda", 1, 1, intel_hda_fields};

constexpr FieldSpec hda_audio_stream_buffer_fields[] = {buffer("buf", 8192), i64("rpos"), i64("wpos"),
                                                        timer("buft"), i64("buft_start")};
constexpr Spec hda_audio_stream_buffer_vmsd{"hda-audio-stream/buffer", 1, 1, hda_audio_stream_buffer_fields};

constexpr FieldSpec hda_audio_stream_fields[] = {
    u32("stream"),     u32("channel"),     u32("format"),      u32("gain_left"),         u32("gain_right"),
    flag("mute_left"), flag("mute_right"), u32("compat_bpos"), buffer("compat_buf", 256)};
constexpr const Spec* hda_audio_stream_subsections[] = {&hda_audio_stream_buffer_vmsd};
constexpr Spec hda_audio_stream_vmsd{"hda-audio-stream", 1, 1, hda_audio_stream_fields,
                                     hda_audio_stream_subsections};

constexpr FieldSpec hda_audio_fields[] = {structure("st", hda_audio_stream_vmsd).array(4),
                                          flag("running_compat").array(16), flag("running_real").array(32)};
constexpr Spec hda_audio_vmsd{"hda-audio", 2, 2, hda_audio_fields};

constexpr SectionSpec sections[] = {
    {&es1370_vmsd}, {&ac97_vmsd}, {&sb16_vmsd}, {&intel_hda_vmsd}, {&hda_audio_vmsd}};

}  // namespace

std::span<const SectionSpec> sound_sections() {
    return sections;
}

}  // namespace vmferry::qemu::schema
