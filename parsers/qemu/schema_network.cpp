#include "parsers/qemu/schema.hpp"

namespace vmferry::qemu::schema {
namespace {

constexpr FieldSpec e1000_mit_state_fields[] = {u32("mac_reg[RDTR]"), u32("mac_reg[RADV]"),
                                                u32("mac_reg[TADV]"), u32("mac_reg[ITR]"),
                                                flag("mit_irq_level")};
constexpr Spec e1000_mit_state_vmsd{"e1000/mit_state", 1, 1, e1000_mit_state_fields};

constexpr FieldSpec e1000_full_mac_state_fields[] = {u32("mac_reg").array(32768)};
constexpr Spec e1000_full_mac_state_vmsd{"e1000/full_mac_state", 1, 1, e1000_full_mac_state_fields};

constexpr FieldSpec e1000_tx_tso_state_fields[] = {
    u8("tx.tso_props.ipcss"),   u8("tx.tso_props.ipcso"),   u16("tx.tso_props.ipcse"),
    u8("tx.tso_props.tucss"),   u8("tx.tso_props.tucso"),   u16("tx.tso_props.tucse"),
    u32("tx.tso_props.paylen"), u8("tx.tso_props.hdr_len"), u16("tx.tso_props.mss"),
    i8("tx.tso_props.ip"),      i8("tx.tso_props.tcp")};
constexpr Spec e1000_tx_tso_state_vmsd{"e1000/tx_tso_state", 1, 1, e1000_tx_tso_state_fields};

constexpr FieldSpec e1000_fields[] = {structure("parent_obj", pci_device),
                                      unused("unused[1]", 4),
                                      u32("rxbuf_size"),
                                      u32("rxbuf_min_shift"),
                                      u32("eecd_state.val_in"),
                                      u16("eecd_state.bitnum_in"),
                                      u16("eecd_state.bitnum_out"),
                                      u16("eecd_state.reading"),
                                      u32("eecd_state.old_eecd"),
                                      u8("mig_props.ipcss"),
                                      u8("mig_props.ipcso"),
                                      u16("mig_props.ipcse"),
                                      u8("mig_props.tucss"),
                                      u8("mig_props.tucso"),
                                      u16("mig_props.tucse"),
                                      u32("mig_props.paylen"),
                                      u8("mig_props.hdr_len"),
                                      u16("mig_props.mss"),
                                      u16("tx.size"),
                                      u16("tx.tso_frames"),
                                      u8("tx.sum_needed"),
                                      i8("mig_props.ip"),
                                      i8("mig_props.tcp"),
                                      buffer("tx.header", 256),
                                      buffer("tx.data", 65536),
                                      u16("eeprom_data").array(64),
                                      u16("phy_reg").array(32),
                                      u32("mac_reg[CTRL]"),
                                      u32("mac_reg[EECD]"),
                                      u32("mac_reg[EERD]"),
                                      u32("mac_reg[GPRC]"),
                                      u32("mac_reg[GPTC]"),
                                      u32("mac_reg[ICR]"),
                                      u32("mac_reg[ICS]"),
                                      u32("mac_reg[IMC]"),
                                      u32("mac_reg[IMS]"),
                                      u32("mac_reg[LEDCTL]"),
                                      u32("mac_reg[MANC]"),
                                      u32("mac_reg[MDIC]"),
                                      u32("mac_reg[MPC]"),
                                      u32("mac_reg[PBA]"),
                                      u32("mac_reg[RCTL]"),
                                      u32("mac_reg[RDBAH]"),
                                      u32("mac_reg[RDBAL]"),
                                      u32("mac_reg[RDH]"),
                                      u32("mac_reg[RDLEN]"),
                                      u32("mac_reg[RDT]"),
                                      u32("mac_reg[STATUS]"),
                                      u32("mac_reg[SWSM]"),
                                      u32("mac_reg[TCTL]"),
                                      u32("mac_reg[TDBAH]"),
                                      u32("mac_reg[TDBAL]"),
                                      u32("mac_reg[TDH]"),
                                      u32("mac_reg[TDLEN]"),
                                      u32("mac_reg[TDT]"),
                                      u32("mac_reg[TORH]"),
                                      u32("mac_reg[TORL]"),
                                      u32("mac_reg[TOTH]"),
                                      u32("mac_reg[TOTL]"),
                                      u32("mac_reg[TPR]"),
                                      u32("mac_reg[TPT]"),
                                      u32("mac_reg[TXDCTL]"),
                                      u32("mac_reg[WUFC]"),
                                      u32("mac_reg[VET]"),
                                      u32("mac_reg[0]").array(32),
                                      u32("mac_reg[1]").array(128),
                                      u32("mac_reg[2]").array(128)};
constexpr const Spec* e1000_subsections[] = {&e1000_mit_state_vmsd, &e1000_full_mac_state_vmsd,
                                             &e1000_tx_tso_state_vmsd};
constexpr Spec e1000_vmsd{"e1000", 2, 2, e1000_fields, e1000_subsections};

constexpr FieldSpec rtl8139_fields[] = {structure("parent_obj", pci_device),
                                        buffer("phys", 6),
                                        buffer("mult", 8),
                                        u32("TxStatus").array(4),
                                        u32("TxAddr").array(4),
                                        u32("RxBuf"),
                                        u32("RxBufferSize"),
                                        u32("RxBufPtr"),
                                        u32("RxBufAddr"),
                                        u16("IntrStatus"),
                                        u16("IntrMask"),
                                        u32("TxConfig"),
                                        u32("RxConfig"),
                                        u32("RxMissed"),
                                        u16("CSCR"),
                                        u8("Cfg9346"),
                                        u8("Config0"),
                                        u8("Config1"),
                                        u8("Config3"),
                                        u8("Config4"),
                                        u8("Config5"),
                                        u8("clock_enabled"),
                                        u8("bChipCmdState"),
                                        u16("MultiIntr"),
                                        u16("BasicModeCtrl"),
                                        u16("BasicModeStatus"),
                                        u16("NWayAdvert"),
                                        u16("NWayLPAR"),
                                        u16("NWayExpansion"),
                                        u16("CpCmd"),
                                        u8("TxThresh"),
                                        unused("unused", 4),
                                        buffer("conf.macaddr", 6),
                                        i32("rtl8139_mmio_io_addr_dummy"),
                                        u32("currTxDesc"),
                                        u32("currCPlusRxDesc"),
                                        u32("currCPlusTxDesc"),
                                        u32("RxRingAddrLO"),
                                        u32("RxRingAddrHI"),
                                        u16("eeprom.contents").array(64),
                                        i32("eeprom.mode"),
                                        u32("eeprom.tick"),
                                        u8("eeprom.address"),
                                        u16("eeprom.input"),
                                        u16("eeprom.output"),
                                        u8("eeprom.eecs"),
                                        u8("eeprom.eesk"),
                                        u8("eeprom.eedi"),
                                        u8("eeprom.eedo"),
                                        u32("TCTR"),
                                        u32("TimerInt"),
                                        i64("TCTR_base"),
                                        u64("tally_counters.TxOk"),
                                        u64("tally_counters.RxOk"),
                                        u64("tally_counters.TxERR"),
                                        u32("tally_counters.RxERR"),
                                        u16("tally_counters.MissPkt"),
                                        u16("tally_counters.FAE"),
                                        u32("tally_counters.Tx1Col"),
                                        u32("tally_counters.TxMCol"),
                                        u64("tally_counters.RxOkPhy"),
                                        u64("tally_counters.RxOkBrd"),
                                        u32("tally_counters.RxOkMul"),
                                        u16("tally_counters.TxAbt"),
                                        u16("tally_counters.TxUndrn"),
                                        u32("cplus_enabled")};
constexpr Spec rtl8139_hotplug_ready_vmsd{"rtl8139/hotplug_ready"};
constexpr const Spec* rtl8139_subsections[] = {&rtl8139_hotplug_ready_vmsd};
constexpr Spec rtl8139_vmsd{"rtl8139", 5, 5, rtl8139_fields, rtl8139_subsections};

constexpr FieldSpec ne2000_state_fields[] = {
    u8("rxcr"),   u8("cmd"),         u32("start"),        u32("stop"),         u8("boundary"),
    u8("tsr"),    u8("tpsr"),        u16("tcnt"),         u16("rcnt"),         u32("rsar"),
    u8("rsr"),    u8("isr"),         u8("dcfg"),          u8("imr"),           buffer("phys", 6),
    u8("curpag"), buffer("mult", 8), unused("unused", 4), buffer("mem", 49152)};
constexpr Spec ne2000_state_vmsd{"ne2000", 2, 2, ne2000_state_fields};

constexpr FieldSpec ne2000_fields[] = {structure("dev", pci_device), structure("ne2000", ne2000_state_vmsd)};
constexpr Spec ne2000_vmsd{"ne2000", 3, 3, ne2000_fields};

constexpr FieldSpec pcnet_state_fields[] = {
    i32("rap"),         i32("isr"),         i32("lnkst"),           u32("rdra"),
    u32("tdra"),        buffer("prom", 16), u16("csr").array(128),  u16("bcr").array(32),
    u64("timer"),       i32("xmit_pos"),    buffer("buffer", 4096), i32("tx_busy"),
    timer("poll_timer")};
constexpr Spec pcnet_state_vmsd{"pcnet", 3, 3, pcnet_state_fields};

constexpr FieldSpec pcnet_fields[] = {structure("parent_obj", pci_device),
                                      structure("state", pcnet_state_vmsd)};
constexpr Spec pcnet_vmsd{"pcnet", 3, 3, pcnet_fields};

constexpr FieldSpec msix_fields[] = {raw("msix", "msix state", 81)};
constexpr Spec msix_vmsd{"msix", 0, 0, msix_fields};

constexpr FieldSpec e1000e_intr_timer_fields[] = {timer("timer"), flag("running")};
constexpr Spec e1000e_intr_timer_vmsd{"e1000e-intr-timer", 1, 1, e1000e_intr_timer_fields};

constexpr FieldSpec e1000e_tx_fields[] = {
    u8("sum_needed"),  u8("props.ipcss"),  u8("props.ipcso"),   u16("props.ipcse"), u8("props.tucss"),
    u8("props.tucso"), u16("props.tucse"), u8("props.hdr_len"), u16("props.mss"),   u32("props.paylen"),
    i8("props.ip"),    i8("props.tcp"),    flag("props.tse"),   flag("cptse"),      flag("skip_cp")};
constexpr Spec e1000e_tx_vmsd{"e1000e-tx", 1, 1, e1000e_tx_fields};

// Since 8.1, but not for older machine types.
constexpr Layout timer_adjustment = 1;
constexpr LayoutChoice e1000e_layouts[] = {{0}, {timer_adjustment}};

constexpr FieldSpec e1000e_fields[] = {structure("parent_obj[0]", pcie_device),
                                       structure("parent_obj[1]", msix_vmsd),
                                       u32("ioaddr"),
                                       u32("core.rxbuf_min_shift"),
                                       u8("core.rx_desc_len"),
                                       u32("core.rxbuf_sizes").array(4),
                                       u32("core.rx_desc_buf_size"),
                                       u16("core.eeprom").array(64),
                                       u16("core.phy").array(224),
                                       u32("core.mac").array(32768),
                                       u8("core.permanent_mac").array(6),
                                       u32("core.delayed_causes"),
                                       u16("subsys"),
                                       u16("subsys_ven"),
                                       structure("core.rdtr", e1000e_intr_timer_vmsd),
                                       structure("core.radv", e1000e_intr_timer_vmsd),
                                       structure("core.raid", e1000e_intr_timer_vmsd),
                                       structure("core.tadv", e1000e_intr_timer_vmsd),
                                       structure("core.tidv", e1000e_intr_timer_vmsd),
                                       structure("core.itr", e1000e_intr_timer_vmsd),
                                       flag("core.itr_intr_pending"),
                                       structure("core.eitr", e1000e_intr_timer_vmsd).array(5),
                                       flag("core.eitr_intr_pending").array(5),
                                       u32("core.itr_guest_value"),
                                       u32("core.eitr_guest_value").array(5),
                                       u16("core.vet"),
                                       structure("core.tx", e1000e_tx_vmsd).array(2),
                                       i64("core.timadj").in(timer_adjustment)};
constexpr Spec e1000e_vmsd{"e1000e", 1, 1, e1000e_fields};

constexpr FieldSpec eeprom_fields[] = {u8("tick"),
                                       u8("address"),
                                       u8("command"),
                                       u8("writable"),
                                       u8("eecs"),
                                       u8("eesk"),
                                       u8("eedo"),
                                       u8("addrbits"),
                                       raw("size[1]", "uint16 equal", 2).between(16, 256),
                                       u16("data"),
                                       u16("contents").counted_by("size[1]")};
constexpr Spec eeprom_vmsd{"eeprom", 20061113, 20061113, eeprom_fields};

// One layout for the whole 8255x family; the section bears the name of the model.
constexpr FieldSpec i8255x_fields[] = {structure("dev", pci_device),
                                       unused("unused[0]", 32),
                                       buffer("mult", 8),
                                       buffer("mem", 4096),
                                       u8("scb_stat"),
                                       u8("int_stat"),
                                       unused("unused[1]", 12),
                                       buffer("conf.macaddr", 6),
                                       unused("unused[2]", 76),
                                       u16("mdimem").array(32),
                                       u32("device"),
                                       u32("cu_base"),
                                       u32("cu_offset"),
                                       u32("ru_base"),
                                       u32("ru_offset"),
                                       u32("statsaddr"),
                                       u32("statistics.tx_good_frames"),
                                       u32("statistics.tx_max_collisions"),
                                       u32("statistics.tx_late_collisions"),
                                       u32("statistics.tx_underruns"),
                                       u32("statistics.tx_lost_crs"),
                                       u32("statistics.tx_deferred"),
                                       u32("statistics.tx_single_collisions"),
                                       u32("statistics.tx_multiple_collisions"),
                                       u32("statistics.tx_total_collisions"),
                                       u32("statistics.rx_good_frames"),
                                       u32("statistics.rx_crc_errors"),
                                       u32("statistics.rx_alignment_errors"),
                                       u32("statistics.rx_resource_errors"),
                                       u32("statistics.rx_overrun_errors"),
                                       u32("statistics.rx_cdt_errors"),
                                       u32("statistics.rx_short_frame_errors"),
                                       u32("statistics.fc_xmt_pause"),
                                       u32("statistics.fc_rcv_pause"),
                                       u32("statistics.fc_rcv_unsupported"),
                                       u16("statistics.xmt_tco_frames"),
                                       u16("statistics.rcv_tco_frames"),
                                       buffer("configuration", 22)};
constexpr Spec i82550_vmsd{"i82550", 3, 3, i8255x_fields};
constexpr Spec i82551_vmsd{"i82551", 3, 3, i8255x_fields};
constexpr Spec i82557a_vmsd{"i82557a", 3, 3, i8255x_fields};
constexpr Spec i82557b_vmsd{"i82557b", 3, 3, i8255x_fields};
constexpr Spec i82557c_vmsd{"i82557c", 3, 3, i8255x_fields};
constexpr Spec i82558a_vmsd{"i82558a", 3, 3, i8255x_fields};
constexpr Spec i82558b_vmsd{"i82558b", 3, 3, i8255x_fields};
constexpr Spec i82559a_vmsd{"i82559a", 3, 3, i8255x_fields};
constexpr Spec i82559b_vmsd{"i82559b", 3, 3, i8255x_fields};
constexpr Spec i82559c_vmsd{"i82559c", 3, 3, i8255x_fields};
constexpr Spec i82559er_vmsd{"i82559er", 3, 3, i8255x_fields};
constexpr Spec i82562_vmsd{"i82562", 3, 3, i8255x_fields};
constexpr Spec i82801_vmsd{"i82801", 3, 3, i8255x_fields};

constexpr SectionSpec sections[] = {
    {&e1000_vmsd},   {&rtl8139_vmsd},  {&ne2000_vmsd},  {&pcnet_vmsd},   {&e1000e_vmsd, e1000e_layouts},
    {&eeprom_vmsd},  {&i82550_vmsd},   {&i82551_vmsd},  {&i82557a_vmsd}, {&i82557b_vmsd},
    {&i82557c_vmsd}, {&i82558a_vmsd},  {&i82558b_vmsd}, {&i82559a_vmsd}, {&i82559b_vmsd},
    {&i82559c_vmsd}, {&i82559er_vmsd}, {&i82562_vmsd},  {&i82801_vmsd}};

}  // namespace

std::span<const SectionSpec> network_sections() {
    return sections;
}

}  // namespace vmferry::qemu::schema
