#include "hypervisor.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>
#include <sys/types.h>

extern "C" {
#include <xencall.h>
#include <xenctrl.h>
#include <xendevicemodel.h>
#include <xenforeignmemory.h>
#include <xenguest.h>
}

namespace oracle {

namespace {

Domain* the_domain = nullptr;
/// Its address is the handle of every interface.
long handle[512];

template <class Handle>
Handle* any_handle() {
    return reinterpret_cast<Handle*>(handle);
}

Domain& domain_of(std::uint32_t id) {
    if (the_domain == nullptr || id != domid) {
        std::fprintf(stderr, "oracle: a call about domain %u\n", id);
        std::_Exit(2);
    }
    return *the_domain;
}

int failed(int error) {
    errno = error;
    return -1;
}

/// Whatever restoring needs is defined below. Anything else would be a call that is judged by nobody.
[[noreturn]] void unexpected(const char* what, unsigned op) {
    std::fprintf(stderr, "oracle: unexpected %s, operation %u\n", what, op);
    std::_Exit(2);
}

}  // namespace

void set_domain(Domain* domain) {
    the_domain = domain;
}

}  // namespace oracle

using oracle::any_handle;
using oracle::domain_of;
using oracle::failed;
using oracle::unexpected;

extern "C" {

// Interfaces: opened, and never asked.

xencall_handle* xencall_open(xentoollog_logger*, unsigned) {
    return any_handle<xencall_handle>();
}
int xencall_close(xencall_handle*) {
    return 0;
}
int xencall0(xencall_handle*, unsigned op) {
    unexpected("hypercall", op);
}
int xencall1(xencall_handle*, unsigned op, uint64_t) {
    unexpected("hypercall", op);
}
int xencall2(xencall_handle*, unsigned op, uint64_t, uint64_t) {
    unexpected("hypercall", op);
}
int xencall3(xencall_handle*, unsigned op, uint64_t, uint64_t, uint64_t) {
    unexpected("hypercall", op);
}
int xencall4(xencall_handle*, unsigned op, uint64_t, uint64_t, uint64_t, uint64_t) {
    unexpected("hypercall", op);
}
int xencall5(xencall_handle*, unsigned op, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
    unexpected("hypercall", op);
}
long xencall2L(xencall_handle*, unsigned op, uint64_t, uint64_t) {
    unexpected("hypercall", op);
}
void* xencall_alloc_buffer_pages(xencall_handle*, size_t pages) {
    return std::aligned_alloc(oracle::page_bytes, pages * oracle::page_bytes);
}
void xencall_free_buffer_pages(xencall_handle*, void* address, size_t) {
    std::free(address);
}
void* xencall_alloc_buffer(xencall_handle*, size_t bytes) {
    return std::malloc(bytes);
}
void xencall_free_buffer(xencall_handle*, void* address) {
    std::free(address);
}

xenforeignmemory_handle* xenforeignmemory_open(xentoollog_logger*, unsigned) {
    return any_handle<xenforeignmemory_handle>();
}
int xenforeignmemory_close(xenforeignmemory_handle*) {
    return 0;
}
xendevicemodel_handle* xendevicemodel_open(xentoollog_logger*, unsigned) {
    return any_handle<xendevicemodel_handle>();
}
int xendevicemodel_close(xendevicemodel_handle*) {
    return 0;
}

// Memory.

void* xenforeignmemory_map(xenforeignmemory_handle*, uint32_t id, int, size_t count, const xen_pfn_t gfns[],
                           int errors[]) {
    static_assert(sizeof(xen_pfn_t) == sizeof(std::uint64_t));
    return domain_of(id).map(reinterpret_cast<const std::uint64_t*>(gfns), count, errors);
}

int xenforeignmemory_unmap(xenforeignmemory_handle*, void* address, size_t count) {
    domain_of(oracle::domid).unmap(address, count);
    return 0;
}

int xc_domain_populate_physmap_exact(xc_interface*, uint32_t id, unsigned long count, unsigned order,
                                     unsigned, xen_pfn_t* gfns) {
    for (unsigned long i = 0; i < count; i++)
        for (std::uint64_t page = 0; page < std::uint64_t{1} << order; page++)
            if (!domain_of(id).populate(gfns[i] + page)) return failed(ENOMEM);
    return 0;
}

int xc_clear_domain_pages(xc_interface*, uint32_t id, unsigned long gfn, int count) {
    for (int i = 0; i < count; i++)
        if (!domain_of(id).clear(gfn + static_cast<unsigned long>(i))) return failed(EINVAL);
    return 0;
}

int xc_domain_nr_gpfns(xc_interface*, uint32_t, xen_pfn_t* count) {
    *count = 0;
    return 0;
}

// The domain.

int xc_domain_getinfo(xc_interface*, uint32_t first, unsigned, xc_dominfo_t* info) {
    std::memset(info, 0, sizeof *info);
    info->domid = first;
    info->hvm = 1;
    info->paused = 1;
    return 1;
}

int xc_version(xc_interface*, int command, void*) {
    if (command != XENVER_version) unexpected("xc_version", static_cast<unsigned>(command));
    return 4 << 16 | 17;
}

int xc_hvm_param_set(xc_interface*, uint32_t id, uint32_t index, uint64_t value) {
    const auto error = domain_of(id).set_parameter(index, value);
    return error != 0 ? failed(error) : 0;
}

int xc_domain_set_tsc_info(xc_interface*, uint32_t id, uint32_t mode, uint64_t nsec, uint32_t khz,
                           uint32_t incarnation) {
    auto& domain = domain_of(id);
    if (domain.tsc) domain.violation("X86_TSC_INFO twice");
    domain.tsc = {mode, khz, incarnation, nsec};
    // 0 default, 1 always emulated, 2 never; 3 is gone.
    if (mode <= 2) return 0;
    domain.violation(fmt::format("TSC mode {}", mode));
    return failed(EINVAL);
}

int xc_set_domain_cpu_policy(xc_interface*, uint32_t id, uint32_t leaves, xen_cpuid_leaf_t* leaf,
                             uint32_t msrs, xen_msr_entry_t* msr, uint32_t*, uint32_t*, uint32_t*) {
    auto& domain = domain_of(id);
    domain.policies++;
    for (uint32_t i = 0; i < leaves; i++)
        domain.cpuid.push_back({leaf[i].leaf, leaf[i].subleaf, leaf[i].a, leaf[i].b, leaf[i].c, leaf[i].d});
    for (uint32_t i = 0; i < msrs; i++) domain.msrs.push_back({msr[i].idx, msr[i].flags, msr[i].val});
    return 0;
}

int xc_domain_hvm_setcontext(xc_interface*, uint32_t id, uint8_t* context, uint32_t bytes) {
    domain_of(id).contexts.emplace_back(context, context + bytes);
    return 0;
}

int xc_dom_gnttab_seed(xc_interface*, uint32_t id, bool hvm, xen_pfn_t console, xen_pfn_t store, uint32_t,
                       uint32_t) {
    domain_of(id).grants = {hvm, console, store};
    return 0;
}

}  // extern "C"
