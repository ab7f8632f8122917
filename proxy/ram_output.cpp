#include "proxy/ram_output.hpp"

namespace vmferry {

void RamOutput::open(OutputBatch& out) {
    if (open_) {
        if (pages_++ < pages_per_part) return;
        close(out);
    }
    head_.clear();
    qemu::write_ram_part_head(head_);
    out.copy(head_);
    open_ = true;
    pages_ = 1;
    block_ = nullptr;
}

void RamOutput::close(OutputBatch& out) {
    if (!open_) return;
    head_.clear();
    qemu::write_ram_tail(head_);
    out.copy(head_);
    open_ = false;
}

std::string_view RamOutput::mention(const std::string& name) {
    if (block_ == &name) return {};
    block_ = &name;
    return name;
}

void RamOutput::page(OutputBatch& out, const std::string& name, std::uint64_t offset, Bytes page) {
    open(out);
    head_.clear();
    qemu::write_page_head(head_, offset, mention(name));
    out.copy(head_);
    out.lend(page);
}

void RamOutput::page_copy(OutputBatch& out, const std::string& name, std::uint64_t offset, Bytes page) {
    open(out);
    head_.clear();
    qemu::write_page_head(head_, offset, mention(name));
    out.copy(head_);
    out.copy(page);
}

void RamOutput::zero(OutputBatch& out, const std::string& name, std::uint64_t offset) {
    open(out);
    head_.clear();
    qemu::write_zero_page(head_, offset, mention(name));
    out.copy(head_);
}

void RamOutput::end(OutputBatch& out) {
    close(out);
    head_.clear();
    qemu::write_ram_end_head(head_);
    qemu::write_ram_tail(head_);
    out.copy(head_);
}

}  // namespace vmferry
