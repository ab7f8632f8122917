// Preloaded into Xen's own device model (/usr/libexec/xen-qemu-system-i386), it answers what that asks of
// Xen, so that the unmodified program runs without Xen, loads the device state of a stream and can be asked
// over QMP.
//
//     VMFERRY_ORACLE_MEMORY   the guest's memory, frame N at N * 4096 (vmferry-oracle-restore wrote it);
//     without: zeros VMFERRY_ORACLE_FRAMES   its populated frames, a line "FIRST COUNT" per range; what is
//     not in it cannot be mapped VMFERRY_ORACLE_CALLS    what the device model told Xen, a line per call
//
// Nothing is ever sent to it: no I/O requests, no events, an empty xenstore. It only says what it holds.
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

extern "C" {
#include <xenctrl.h>
#include <xendevicemodel.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xengnttab.h>
#include <xenstore.h>
#include <xentoolcore.h>
}

namespace {

constexpr std::uint64_t page_bytes = 4096;
long handle[512];  // its address is the handle of every interface

template <class Handle>
Handle* any_handle() {
    return reinterpret_cast<Handle*>(handle);
}

__attribute__((format(printf, 1, 2))) void tell(const char* format, ...) {
    static auto* file = [] {
        const auto* path = secure_getenv("VMFERRY_ORACLE_CALLS");
        return path != nullptr ? std::fopen(path, "we") : nullptr;
    }();
    if (file == nullptr) return;
    va_list values;
    va_start(values, format);
    std::vfprintf(file, format, values);
    va_end(values);
    std::fflush(file);
}

/// The guest's memory; -1: there is none.
int memory_file() {
    static const int file = [] {
        const auto* path = secure_getenv("VMFERRY_ORACLE_MEMORY");
        return path != nullptr ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    }();
    return file;
}

bool is_populated(std::uint64_t gfn) {
    static const auto ranges = [] {
        std::vector<std::pair<std::uint64_t, std::uint64_t>> found;
        const auto* path = secure_getenv("VMFERRY_ORACLE_FRAMES");
        auto* file = path != nullptr ? std::fopen(path, "re") : nullptr;
        unsigned long first = 0, count = 0;
        while (file != nullptr && std::fscanf(file, "%lu %lu", &first, &count) == 2)
            found.emplace_back(first, count);
        if (file != nullptr) std::fclose(file);
        return found;
    }();
    for (const auto& [first, count] : ranges)
        if (gfn >= first && gfn - first < count) return true;
    return false;
}

/// A descriptor that never becomes readable.
int silent_descriptor() {
    static const int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return descriptor;
}

void* map_frames(void* address, int flags, std::size_t count, const xen_pfn_t gfns[], int errors[]) {
    auto* base = static_cast<std::byte*>(mmap(address, count * page_bytes, PROT_READ | PROT_WRITE,
                                              flags | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (base == MAP_FAILED) return nullptr;
    for (std::size_t i = 0; i < count; i++) {
        errors[i] = is_populated(gfns[i]) ? 0 : -EINVAL;
        // A private copy: what the device model writes stays with it.
        if (errors[i] == 0 && memory_file() >= 0 &&
            mmap(base + i * page_bytes, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
                 memory_file(), static_cast<off_t>(gfns[i] * page_bytes)) == MAP_FAILED)
            errors[i] = -errno;
    }
    return base;
}

}  // namespace

extern "C" {

// libxenctrl

xc_interface* xc_interface_open(xentoollog_logger*, xentoollog_logger*, unsigned) {
    return any_handle<xc_interface>();
}
int xc_interface_close(xc_interface*) {
    return 0;
}
int xc_domain_shutdown(xc_interface*, uint32_t, int reason) {
    tell("shutdown %d\n", reason);
    return 0;
}
int xc_domain_populate_physmap_exact(xc_interface*, uint32_t, unsigned long count, unsigned, unsigned,
                                     xen_pfn_t* gfns) {
    tell("populate %#lx %lu\n", static_cast<unsigned long>(gfns[0]), count);
    return 0;
}
int xc_get_hvm_param(xc_interface*, uint32_t, int, unsigned long* value) {
    *value = 0;
    return 0;
}
int xc_set_hvm_param(xc_interface*, uint32_t, int index, unsigned long value) {
    tell("param %d %#lx\n", index, value);
    return 0;
}

// libxendevicemodel

xendevicemodel_handle* xendevicemodel_open(xentoollog_logger*, unsigned) {
    return any_handle<xendevicemodel_handle>();
}
int xendevicemodel_close(xendevicemodel_handle*) {
    return 0;
}
int xendevicemodel_restrict(xendevicemodel_handle*, domid_t) {
    return 0;
}
int xendevicemodel_create_ioreq_server(xendevicemodel_handle*, domid_t, int, ioservid_t* id) {
    *id = 1;
    return 0;
}
int xendevicemodel_destroy_ioreq_server(xendevicemodel_handle*, domid_t, ioservid_t) {
    return 0;
}
int xendevicemodel_get_ioreq_server_info(xendevicemodel_handle*, domid_t, ioservid_t, xen_pfn_t* page,
                                         xen_pfn_t* buffered, evtchn_port_t* port) {
    if (page != nullptr) *page = 0;
    if (buffered != nullptr) *buffered = 0;
    if (port != nullptr) *port = 1;
    return 0;
}
int xendevicemodel_set_ioreq_server_state(xendevicemodel_handle*, domid_t, ioservid_t, int) {
    return 0;
}
int xendevicemodel_map_io_range_to_ioreq_server(xendevicemodel_handle*, domid_t, ioservid_t, int mmio,
                                                uint64_t first, uint64_t last) {
    tell("map %s %#lx %#lx\n", mmio != 0 ? "mmio" : "port", first, last);
    return 0;
}
int xendevicemodel_unmap_io_range_from_ioreq_server(xendevicemodel_handle*, domid_t, ioservid_t, int mmio,
                                                    uint64_t first, uint64_t last) {
    tell("unmap %s %#lx %#lx\n", mmio != 0 ? "mmio" : "port", first, last);
    return 0;
}
int xendevicemodel_map_pcidev_to_ioreq_server(xendevicemodel_handle*, domid_t, ioservid_t, uint16_t segment,
                                              uint8_t bus, uint8_t device, uint8_t function) {
    tell("pci %04x:%02x:%02x.%x\n", segment, bus, device, function);
    return 0;
}
int xendevicemodel_unmap_pcidev_from_ioreq_server(xendevicemodel_handle*, domid_t, ioservid_t, uint16_t,
                                                  uint8_t, uint8_t, uint8_t) {
    return 0;
}
int xendevicemodel_inject_msi(xendevicemodel_handle*, domid_t, uint64_t address, uint32_t data) {
    tell("msi %#lx %#x\n", address, data);
    return 0;
}
int xendevicemodel_set_isa_irq_level(xendevicemodel_handle*, domid_t, uint8_t irq, unsigned level) {
    tell("isa %u %u\n", irq, level);
    return 0;
}
int xendevicemodel_set_pci_intx_level(xendevicemodel_handle*, domid_t, uint16_t, uint8_t, uint8_t device,
                                      uint8_t pin, unsigned level) {
    tell("intx %u %u %u\n", device, pin, level);
    return 0;
}
int xendevicemodel_set_pci_link_route(xendevicemodel_handle*, domid_t, uint8_t link, uint8_t irq) {
    tell("link %u %u\n", link, irq);
    return 0;
}
int xendevicemodel_modified_memory(xendevicemodel_handle*, domid_t, uint64_t, uint32_t) {
    return 0;
}
int xendevicemodel_set_mem_type(xendevicemodel_handle*, domid_t, hvmmem_type_t, uint64_t, uint32_t) {
    return 0;
}
int xendevicemodel_pin_memory_cacheattr(xendevicemodel_handle*, domid_t, uint64_t, uint64_t, uint32_t) {
    return 0;
}
int xendevicemodel_relocate_memory(xendevicemodel_handle*, domid_t, uint32_t count, uint64_t from,
                                   uint64_t to) {
    tell("relocate %#lx %#lx %u\n", from, to, count);
    return 0;
}
int xendevicemodel_track_dirty_vram(xendevicemodel_handle*, domid_t, uint64_t first, uint32_t count,
                                    unsigned long* bitmap) {
    tell("vram %#lx %u\n", first, count);
    std::memset(bitmap, 0xFF, (count + 7) / 8);
    return 0;
}
int xendevicemodel_shutdown(xendevicemodel_handle*, domid_t, unsigned) {
    return 0;
}

// libxenforeignmemory

xenforeignmemory_handle* xenforeignmemory_open(xentoollog_logger*, unsigned) {
    return any_handle<xenforeignmemory_handle>();
}
int xenforeignmemory_close(xenforeignmemory_handle*) {
    return 0;
}
void* xenforeignmemory_map(xenforeignmemory_handle*, uint32_t, int, size_t count, const xen_pfn_t gfns[],
                           int errors[]) {
    return map_frames(nullptr, 0, count, gfns, errors);
}
void* xenforeignmemory_map2(xenforeignmemory_handle*, uint32_t, void* address, int, int flags, size_t count,
                            const xen_pfn_t gfns[], int errors[]) {
    return map_frames(address, flags & MAP_FIXED, count, gfns, errors);
}
int xenforeignmemory_unmap(xenforeignmemory_handle*, void* address, size_t count) {
    return munmap(address, count * page_bytes);
}
xenforeignmemory_resource_handle* xenforeignmemory_map_resource(xenforeignmemory_handle*, domid_t, unsigned,
                                                                unsigned, unsigned long, unsigned long count,
                                                                void** address, int, int) {
    *address = mmap(nullptr, count * page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return any_handle<xenforeignmemory_resource_handle>();
}
int xenforeignmemory_unmap_resource(xenforeignmemory_handle*, xenforeignmemory_resource_handle*) {
    return 0;
}

// libxenevtchn

xenevtchn_handle* xenevtchn_open(xentoollog_logger*, unsigned) {
    return any_handle<xenevtchn_handle>();
}
int xenevtchn_close(xenevtchn_handle*) {
    return 0;
}
int xenevtchn_fd(xenevtchn_handle*) {
    return silent_descriptor();
}
int xenevtchn_notify(xenevtchn_handle*, evtchn_port_t) {
    return 0;
}
xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle*, uint32_t, evtchn_port_t port) {
    return static_cast<xenevtchn_port_or_error_t>(port) + 1;
}
int xenevtchn_unbind(xenevtchn_handle*, evtchn_port_t) {
    return 0;
}
int xenevtchn_unmask(xenevtchn_handle*, evtchn_port_t) {
    return 0;
}
xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle*) {
    return -1;
}

// libxengnttab, libxentoolcore

xengnttab_handle* xengnttab_open(xentoollog_logger*, unsigned) {
    return nullptr;
}
int xengnttab_close(xengnttab_handle*) {
    return 0;
}
int xentoolcore_restrict_all(domid_t) {
    return 0;
}

// libxenstore: empty, and takes whatever is written

xs_handle* xs_open(unsigned long) {
    return any_handle<xs_handle>();
}
xs_handle* xs_daemon_open() {
    return any_handle<xs_handle>();
}
void xs_close(xs_handle*) {}
void xs_daemon_close(xs_handle*) {}
int xs_fileno(xs_handle*) {
    return silent_descriptor();
}
char** xs_directory(xs_handle*, xs_transaction_t, const char*, unsigned* count) {
    *count = 0;
    errno = ENOENT;
    return nullptr;
}
void* xs_read(xs_handle*, xs_transaction_t, const char*, unsigned*) {
    errno = ENOENT;
    return nullptr;
}
bool xs_write(xs_handle*, xs_transaction_t, const char* path, const void* data, unsigned bytes) {
    tell("xenstore %s = %.*s\n", path, static_cast<int>(bytes), static_cast<const char*>(data));
    return true;
}
bool xs_mkdir(xs_handle*, xs_transaction_t, const char*) {
    return true;
}
bool xs_rm(xs_handle*, xs_transaction_t, const char*) {
    return true;
}
bool xs_set_permissions(xs_handle*, xs_transaction_t, const char*, xs_permissions*, unsigned) {
    return true;
}
bool xs_watch(xs_handle*, const char*, const char*) {
    return true;
}
bool xs_unwatch(xs_handle*, const char*, const char*) {
    return true;
}
char** xs_check_watch(xs_handle*) {
    errno = EAGAIN;
    return nullptr;
}
char** xs_read_watch(xs_handle*, unsigned*) {
    errno = EAGAIN;
    return nullptr;
}
xs_transaction_t xs_transaction_start(xs_handle*) {
    return 1;
}
bool xs_transaction_end(xs_handle*, xs_transaction_t, bool) {
    return true;
}
char* xs_get_domain_path(xs_handle*, unsigned domid) {
    char* path = nullptr;
    return asprintf(&path, "/local/domain/%u", domid) < 0 ? nullptr : path;
}

}  // extern "C"
