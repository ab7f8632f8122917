#include "parsers/qemu/schema.hpp"

namespace vmferry::qemu::schema {
namespace {

constexpr FieldSpec uhci_port_fields[] = {u16("ctrl")};
constexpr Spec uhci_port_vmsd{"uhci port", 1, 1, uhci_port_fields};

constexpr FieldSpec uhci_fields[] = {structure("dev", pci_device),
                                     raw("num_ports_vmstate", "uint8 equal", 1).between(2, 2),
                                     structure("ports", uhci_port_vmsd).array(2),
                                     u16("cmd"),
                                     u16("status"),
                                     u16("intr"),
                                     u16("frnum"),
                                     u32("fl_base_addr"),
                                     u8("sof_timing"),
                                     u8("status2"),
                                     timer("frame_timer"),
                                     i64("expire_time"),
                                     u32("pending_int_mask")};
constexpr Spec uhci_vmsd{"uhci", 3, 3, uhci_fields};

constexpr FieldSpec ehci_core_fields[] = {
    u32("usbcmd"),    u32("usbsts"),        u32("usbsts_pending"),   u32("usbsts_frindex"), u32("usbintr"),
    u32("frindex"),   u32("ctrldssegment"), u32("periodiclistbase"), u32("asynclistaddr"),  u32("configflag"),
    u32("portsc[0]"), u32("portsc[1]"),     u32("portsc[2]"),        u32("portsc[3]"),      u32("portsc[4]"),
    u32("portsc[5]"), timer("frame_timer"), u64("last_run_ns"),      u32("async_stepdown"), u32("astate"),
    u32("pstate"),    u32("a_fetch_addr"),  u32("p_fetch_addr")};
constexpr Spec ehci_core_vmsd{"ehci-core", 2, 2, ehci_core_fields};

constexpr FieldSpec ehci_fields[] = {structure("pcidev", pci_device), structure("ehci", ehci_core_vmsd)};
constexpr Spec ehci_vmsd{"ehci", 2, 2, ehci_fields};

constexpr FieldSpec msix_fields[] = {raw("msix", "msix state", 258)};
constexpr Spec msix_vmsd{"msix", 0, 0, msix_fields};

constexpr FieldSpec xhci_port_fields[] = {u32("portsc")};
constexpr Spec xhci_port_vmsd{"xhci-port", 1, 1, xhci_port_fields};

constexpr FieldSpec xhci_slot_fields[] = {flag("enabled"), flag("addressed")};
constexpr Spec xhci_slot_vmsd{"xhci-slot", 1, 1, xhci_slot_fields};

// With er_full_unused set a buffer of events would follow; no release since 2.9 sets it.
constexpr FieldSpec xhci_intr_fields[] = {u32("iman"),
                                          u32("imod"),
                                          u32("erstsz"),
                                          u32("erstba_low"),
                                          u32("erstba_high"),
                                          u32("erdp_low"),
                                          u32("erdp_high"),
                                          flag("msix_used"),
                                          flag("er_pcs"),
                                          u64("er_start"),
                                          u32("er_size"),
                                          u32("er_ep_idx"),
                                          flag("er_full_unused").between(0, 0)};
constexpr Spec xhci_intr_vmsd{"xhci-intr", 1, 1, xhci_intr_fields};

constexpr FieldSpec xhci_ring_fields[] = {u64("dequeue"), flag("ccs")};
constexpr Spec xhci_ring_vmsd{"xhci-ring", 1, 1, xhci_ring_fields};

constexpr FieldSpec xhci_core_fields[] = {structure("ports", xhci_port_vmsd).array(8),
                                          structure("slots", xhci_slot_vmsd).array(64),
                                          structure("intr", xhci_intr_vmsd).array(16),
                                          u32("usbcmd"),
                                          u32("usbsts"),
                                          u32("dnctrl"),
                                          u32("crcr_low"),
                                          u32("crcr_high"),
                                          u32("dcbaap_low"),
                                          u32("dcbaap_high"),
                                          u32("config"),
                                          i64("mfindex_start"),
                                          timer("mfwrap_timer"),
                                          structure("cmd_ring", xhci_ring_vmsd)};
constexpr Spec xhci_core_vmsd{"xhci-core", 1, 1, xhci_core_fields};

constexpr FieldSpec xhci_fields[] = {structure("parent_obj[0]", pcie_device),
                                     structure("parent_obj[1]", msix_vmsd),
                                     structure("xhci", xhci_core_vmsd)};
constexpr Spec xhci_vmsd{"xhci", 1, 1, xhci_fields};

constexpr FieldSpec usbdevice_fields[] = {
    u8("addr"),       i32("state"),       i32("remote_wakeup"),    i32("setup_state"),
    i32("setup_len"), i32("setup_index"), u8("setup_buf").array(8)};
constexpr Spec usbdevice_vmsd{"USBDevice", 1, 1, usbdevice_fields};

constexpr FieldSpec hidpointereventqueue_fields[] = {i32("xdx"), i32("ydy"), i32("dz"), i32("buttons_state")};
constexpr Spec hidpointereventqueue_vmsd{"HIDPointerEventQueue", 1, 1, hidpointereventqueue_fields};

constexpr FieldSpec hidpointerdevice_fields[] = {structure("ptr.queue", hidpointereventqueue_vmsd).array(16),
                                                 u32("head"), u32("n"), i32("protocol"), u8("idle")};
constexpr Spec hidpointerdevice_vmsd{"HIDPointerDevice", 1, 1, hidpointerdevice_fields};

constexpr FieldSpec usb_ptr_fields[] = {structure("dev", usbdevice_vmsd),
                                        structure("hid", hidpointerdevice_vmsd)};
constexpr Spec usb_ptr_vmsd{"usb-ptr", 1, 1, usb_ptr_fields};

constexpr FieldSpec hidkeyboarddevice_fields[] = {u32("kbd.keycodes").array(16),
                                                  u32("head"),
                                                  u32("n"),
                                                  u16("kbd.modifiers"),
                                                  u8("kbd.leds"),
                                                  u8("kbd.key").array(16),
                                                  i32("kbd.keys"),
                                                  i32("protocol"),
                                                  u8("idle")};
constexpr Spec hidkeyboarddevice_vmsd{"HIDKeyboardDevice", 1, 1, hidkeyboarddevice_fields};

constexpr FieldSpec usb_kbd_fields[] = {structure("dev", usbdevice_vmsd),
                                        structure("hid", hidkeyboarddevice_vmsd)};
constexpr Spec usb_kbd_vmsd{"usb-kbd", 1, 1, usb_kbd_fields};

constexpr FieldSpec usb_hub_port_fields[] = {u16("wPortStatus"), u16("wPortChange")};
constexpr Spec usb_hub_port_vmsd{"usb-hub-port", 1, 1, usb_hub_port_fields};

constexpr FieldSpec usb_hub_fields[] = {structure("dev", usbdevice_vmsd),
                                        structure("ports", usb_hub_port_vmsd).array(8)};
constexpr FieldSpec usb_hub_timer_fields[] = {timer("port_timer")};
constexpr Spec usb_hub_timer_vmsd{"usb-hub/port-timer", 1, 1, usb_hub_timer_fields};
constexpr const Spec* usb_hub_subsections[] = {&usb_hub_timer_vmsd};
constexpr Spec usb_hub_vmsd{"usb-hub", 1, 1, usb_hub_fields, usb_hub_subsections};

constexpr FieldSpec usb_storage_fields[] = {structure("dev", usbdevice_vmsd),
                                            u32("mode"),
                                            u32("scsi_len"),
                                            u32("scsi_off"),
                                            u32("data_len"),
                                            u32("csw.sig"),
                                            u32("csw.tag"),
                                            u32("csw.residue"),
                                            u8("csw.status")};
constexpr Spec usb_storage_vmsd{"usb-storage", 1, 1, usb_storage_fields};

constexpr SectionSpec sections[] = {{&uhci_vmsd},    {&ehci_vmsd},    {&xhci_vmsd},       {&usb_ptr_vmsd},
                                    {&usb_kbd_vmsd}, {&usb_hub_vmsd}, {&usb_storage_vmsd}};

}  // namespace

std::span<const SectionSpec> usb_sections() {
    return sections;
}

}  // namespace vmferry::qemu::schema
