// `vmferry convert FILE --to qemu -o OUT`: a recorded Xen stream becomes a stream that a stock QEMU takes.
// `vmferry convert FILE --to xl -o OUT`: a recorded QEMU stream becomes a file that `xl restore` takes.
#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/descriptor.hpp"
#include "tools/vmferry/command.hpp"
#include "tools/vmferry/destination_arguments.hpp"
#include "tools/vmferry/findings.hpp"
#include "tools/vmferry/progress.hpp"
#include "tools/vmferry/recorded_qemu.hpp"
#include "tools/vmferry/recorded_stream.hpp"
#include "tools/vmferry/report.hpp"
#include "tools/vmferry/xen_destination_arguments.hpp"
#include "translators/shell_quote.hpp"

namespace vmferry::cli {

namespace {

struct Options {
    std::string file, out;
    bool json = false;
    DestinationArguments destination;
    XenDestinationArguments xen;
};

/// The file that is written: under another name until it is whole, so that no half of a stream is ever taken
/// for one. Standard output, pipes and devices are written as they are.
class OutputFile {
  public:
    static Result<OutputFile> create(const std::string& path) {
        OutputFile file;
        if (path == "-") {
            file.descriptor_ = Descriptor(::dup(STDOUT_FILENO));
        } else {
            std::error_code unused;
            const auto kind = std::filesystem::status(path, unused).type();
            const bool replace =
                kind == std::filesystem::file_type::not_found || kind == std::filesystem::file_type::regular;
            file.path_ = path;
            if (replace) file.partial_ = path + ".part";
            file.descriptor_ =
                Descriptor(::open((replace ? file.partial_ : path).c_str(),
                                  O_WRONLY | O_CLOEXEC | (replace ? O_CREAT | O_TRUNC : 0), 0600));
        }
        if (!file.descriptor_.valid())
            return environment_error(path, "creating", std::generic_category().message(errno));
        return file;
    }
    OutputFile(OutputFile&& other) noexcept
        : path_(std::move(other.path_)),
          partial_(std::exchange(other.partial_, {})),
          descriptor_(std::move(other.descriptor_)) {}
    OutputFile& operator=(OutputFile&&) = delete;
    ~OutputFile() {
        if (!partial_.empty()) ::unlink(partial_.c_str());
    }

    [[nodiscard]] int descriptor() const { return descriptor_.get(); }

    /// The stream is whole and on the disk.
    Result<void> complete() {
        if (partial_.empty()) return {};
        if (::fsync(descriptor_.get()) != 0)
            return environment_error(path_, "writing", std::generic_category().message(errno));
        std::error_code error;
        std::filesystem::rename(partial_, path_, error);
        if (error) return environment_error(path_, "renaming", error.message());
        partial_.clear();
        return {};
    }

  private:
    OutputFile() = default;
    std::string path_, partial_;
    Descriptor descriptor_;
};

/// What came of it: how much was carried, and the words of the command that takes the output.
struct Converted {
    CrossingCounters counters;
    std::vector<std::string> words;
};

Result<Converted> to_qemu(const Options& given, const BatchSink& sink, const std::string& label,
                          AuditReport& audit) {
    VMFERRY_TRY(given.xen.check_absent());
    VMFERRY_ASSIGN(const auto options, given.destination.options());
    audit = AuditReport(options.allow);
    VMFERRY_ASSIGN(const auto carried, carry_recorded(given.file, options, sink, label, audit));
    Converted done{carried.counters, carried.plan.arguments};
    done.words.insert(done.words.begin(), carried.plan.qemu);
    done.words.insert(
        done.words.end(),
        {"-incoming", given.out == "-" ? "exec:cat" : "exec:cat " + shell_quote({{given.out}})});
    return done;
}

Result<Converted> to_xl(const Options& given, const BatchSink& sink, const std::string& label,
                        AuditReport& audit) {
    VMFERRY_ASSIGN(const auto settings, given.xen.settings());
    audit = AuditReport(settings.options.allow);
    VMFERRY_ASSIGN(const auto carried, carry_recorded_to_xen(given.file, settings, sink, label, audit));
    return Converted{carried.counters, {"xl", "restore", given.out == "-" ? "/dev/stdin" : given.out}};
}

ExitCode run(const Options& given) {
    auto report = document("convert");
    AuditReport audit;
    const auto result = [&]() -> Result<Converted> {
        VMFERRY_ASSIGN(auto out, OutputFile::create(given.out));
        const std::string label = given.json ? "" : "convert";
        VMFERRY_ASSIGN(auto done, (given.xen.chosen() ? to_xl : to_qemu)(given, sink_to_fd(out.descriptor()),
                                                                         label, audit));
        VMFERRY_TRY(out.complete());
        return done;
    }();
    // Standard output may be the stream.
    std::FILE* const to = given.out == "-" ? stderr : stdout;
    if (given.json) {
        report["rules"] = to_json(audit);
        if (result) {
            const auto& counters = result->counters;
            report["command_line"] = result->words;
            report["bytes_in"] = counters.bytes_in;
            report["bytes_out"] = counters.bytes_out;
            report["pages"] = counters.pages;
            report["zero_pages"] = counters.zero_pages;
            report["held_pages"] = counters.held_pages;
            report["dropped_pages"] = counters.dropped_pages;
            report["passes"] = counters.passes;
        } else {
            set_error(report, result.error());
        }
        print_json(report, true, to);
    } else if (result) {
        print_notable(audit, to);
        const auto& counters = result->counters;
        fmt::print(to, "{}: {} read, {} written, {} pages ({} of zeros), {} passes\n", given.out,
                   size_text(counters.bytes_in), size_text(counters.bytes_out), counters.pages,
                   counters.zero_pages, counters.passes);
        fmt::print(to, "{}\n", shell_quote(result->words));
    }
    return result ? ExitCode::done : fail(result.error());
}

}  // namespace

void add_convert(CLI::App& app, Invocation& invocation) {
    auto* command = app.add_subcommand(
        "convert",
        "Turn a recorded Xen stream into one that `qemu-system-x86_64 -incoming exec:'cat OUT'` takes, or a "
        "recorded QEMU stream into a file for `xl restore`");
    auto options = std::make_shared<Options>();
    command
        ->add_option("FILE", options->file,
                     "what `xl migrate`, `xl save` or QEMU's migrate wrote, plain or zstd")
        ->required();
    command->add_option("-o,--output", options->out, "file to write; - for standard output")->required();
    command->add_flag("--json", options->json, "print JSON");
    options->destination.add_to(*command, invocation);
    options->xen.add_to(*command, options->destination);
    command->get_option("--to")->required();
    command->callback([options, &invocation] { invocation.action = [options] { return run(*options); }; });
}

}  // namespace vmferry::cli
