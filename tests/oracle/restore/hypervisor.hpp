// The hypercall layer below libxenguest, replaced. libxenguest and libxenctrl find these functions before
// Xen's own, as the program exports them (ENABLE_EXPORTS), and so the real xc_domain_restore() runs without
// Xen.
//
//     xc_domain_restore()                            libxenguest, the real one
//         → xc_domain_populate_physmap_exact(), …    hypervisor.cpp, on a Domain
//         → any other function of libxenctrl → xencall*(): ends the program, by name
#pragma once

#include "domain.hpp"

namespace oracle {

/// The domain that calls are about. There is one.
void set_domain(Domain* domain);

inline constexpr unsigned domid = 7, store_port = 1, console_port = 2;

}  // namespace oracle
