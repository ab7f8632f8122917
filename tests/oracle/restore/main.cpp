// vmferry-oracle-restore FILE OUT: Xen's own xc_domain_restore() (libxenguest) reads the stream in FILE, what
// `xl migrate` or `xl save` writes, without Xen. On standard output what it made of it, as one JSON object;
// in the folder OUT
//
//     memory         the guest's memory, frame N at N * 4096, sparse
//     pages          "FRAME SHA-256" of every frame that is not zero, in hexadecimal
//     hvm_context    the blob that Xen would load
//     device_model   the body of EMULATOR_CONTEXT without its sub-header
//
// libxenguest's own messages go to standard error. Exit code 0: sound; 1: violations, listed; 2: this program
// could not judge.
#include <cstdarg>
#include <cstdio>
#include <fstream>
#include <iostream>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

extern "C" {
#include <xenctrl.h>
#include <xenguest.h>
#include <xentoollog.h>
}

#include "domain.hpp"
#include "hypervisor.hpp"
#include "stream_file.hpp"

namespace oracle {

namespace {

constexpr std::uint32_t emulator_context = 3, emulator_header = 8;
constexpr std::uint32_t qemu_upstream = 2;

struct Log {
    xentoollog_logger logger{};  ///< first: libxc knows only this
    std::vector<std::string> problems;
};

__attribute__((format(printf, 5, 0))) void on_message(xentoollog_logger* logger, xentoollog_level level,
                                                      int error, const char* context, const char* format,
                                                      va_list values) {
    if (level < XTL_DETAIL) return;
    char text[1024];
    std::vsnprintf(text, sizeof text, format, values);
    std::fprintf(stderr, "%s: %s: %s\n", context != nullptr ? context : "xc", xtl_level_to_string(level),
                 text);
    if (level < XTL_WARN) return;
    auto line = std::string(text);
    if (error >= 0) line += fmt::format(" (errno {})", error);
    reinterpret_cast<Log*>(logger)->problems.push_back(std::move(line));
}

int on_static_data_done(unsigned missing, void* domain) {
    static_cast<Domain*>(domain)->static_data_missing = missing;
    return 0;
}

void write_file(const std::string& path, const std::vector<unsigned char>& data) {
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
    if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

/// What libxl would make of the rest.
nlohmann::json judge_tail(int file, Domain& domain, const std::string& out) {
    const auto tail = read_tail(file);
    auto facts = nlohmann::json::object();
    auto records = nlohmann::json::array();
    unsigned emulators = 0;
    for (const auto& record : tail.records) {
        records.push_back({record.type, record.length});
        if (record.type != emulator_context) continue;
        emulators++;
        if (record.length <= emulator_header) {
            domain.violation("EMULATOR_CONTEXT is empty");
            continue;
        }
        const auto body = read_at(file, record.body, record.length);
        facts["emulator"] = {{"id", body[0]}, {"index", body[4]}, {"bytes", record.length - emulator_header}};
        if (body[0] != qemu_upstream) domain.violation(fmt::format("emulator {}, not QEMU", body[0]));
        write_file(out + "/device_model", {body.begin() + emulator_header, body.end()});
    }
    if (emulators != 1) domain.violation(fmt::format("{} records EMULATOR_CONTEXT, not 1", emulators));
    facts["records"] = records;
    facts["end"] = tail.end;
    return facts;
}

int run(const char* path, const std::string& out) {
    const auto file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) throw std::runtime_error(fmt::format("cannot open {}", path));
    if (mkdir(out.c_str(), 0700) != 0 && errno != EEXIST) throw std::runtime_error("cannot create " + out);
    const auto head = read_head(file);
    Domain domain(Limits(head.config), out + "/memory");
    set_domain(&domain);

    Log log;
    log.logger.vmessage = on_message;
    auto* xc = xc_interface_open(&log.logger, &log.logger, 0);
    if (xc == nullptr) throw std::runtime_error("xc_interface_open failed");
    restore_callbacks callbacks{};
    callbacks.static_data_done = on_static_data_done;
    callbacks.data = &domain;
    unsigned long store = 0, console = 0;
    const auto rc = xc_domain_restore(xc, file, domid, store_port, &store, 0, console_port, &console, 0,
                                      XC_STREAM_PLAIN, &callbacks, -1);
    xc_interface_close(xc);
    const auto image_end = static_cast<std::uint64_t>(lseek(file, 0, SEEK_CUR));

    for (const auto& problem : log.problems) domain.violation("libxenguest: " + problem);
    auto libxl = nlohmann::json::object();
    if (rc != 0) {
        domain.violation(fmt::format("xc_domain_restore() returned {}", rc));
    } else {
        domain.judge_the_whole();
        try {
            libxl = judge_tail(file, domain, out);
        } catch (const BadStream& error) {
            domain.violation(fmt::format("libxl: {}", error.what()));
        }
    }
    if (!domain.contexts.empty()) write_file(out + "/hvm_context", domain.contexts.back());
    nlohmann::json facts = {{"restore", rc},
                            {"violations", domain.violations()},
                            {"config", head.config},
                            {"image", {{"offset", head.image}, {"end", image_end}}},
                            {"memory", domain.memory_facts(out + "/pages")},
                            {"params", domain.parameter_facts()},
                            {"store_gfn", store},
                            {"console_gfn", console},
                            {"cpuid", domain.cpuid},
                            {"msrs", domain.msrs},
                            {"libxl", libxl}};
    if (domain.tsc)
        facts["tsc"] = {{"mode", domain.tsc->mode},
                        {"khz", domain.tsc->khz},
                        {"nsec", domain.tsc->nsec},
                        {"incarnation", domain.tsc->incarnation}};
    std::cout << facts.dump(1) << '\n';
    close(file);
    return domain.violations().empty() ? 0 : 1;
}

}  // namespace

}  // namespace oracle

int main(int count, char** arguments) {
    if (count != 3) {
        std::fprintf(stderr, "usage: %s FILE OUT\n", arguments[0]);
        return 2;
    }
    try {
        return oracle::run(arguments[1], arguments[2]);
    } catch (const oracle::BadStream& error) {
        std::cout << nlohmann::json{{"violations", {error.what()}}}.dump() << '\n';
        return 1;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "oracle: %s\n", error.what());
        return 2;
    }
}
