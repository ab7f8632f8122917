#include "proxy/session_directory.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace vmferry {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

constexpr std::size_t kept_ended = 32;    ///< archived sessions per host
constexpr off_t journal_reserve = 16384;  ///< bytes; a session writes a tenth of that

std::string now_text() {
    const auto now = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
    const auto days = std::chrono::floor<std::chrono::days>(now);
    const std::chrono::year_month_day date(days);
    const std::chrono::hh_mm_ss time(now - days);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", int(date.year()), unsigned(date.month()),
                       unsigned(date.day()), time.hours().count(), time.minutes().count(),
                       time.seconds().count(), time.subseconds().count());
}

/// A part of a path from what the stream calls the guest.
std::string path_word(const std::string& name) {
    std::string word;
    for (const char c : name.substr(0, 32))
        word +=
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ? c : '-';
    return word.empty() ? "guest" : word;
}

std::string random_hex() {
    std::random_device random;
    return fmt::format("{:08x}", random());
}

Result<void> sync_directory(const std::string& path) {
    const Descriptor directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid() || fsync(directory.get()) != 0)
        return environment_error("state directory", "syncing " + path, errno_text(errno));
    return {};
}

Result<void> append_line(int journal, const json& fields, bool sync) {
    json line = {{"time", now_text()}};
    line.update(fields);
    const auto text = line.dump(-1, ' ', true, json::error_handler_t::replace) + "\n";
    // One write: a journal that is read at the same time has whole lines or none.
    const auto written = write(journal, text.data(), text.size());
    if (written == static_cast<ssize_t>(text.size()) && (!sync || fsync(journal) == 0)) return {};
    std::string found = errno_text(errno);
    if (written >= 0 && written < static_cast<ssize_t>(text.size())) {
        found = fmt::format("the disk took {} of {} bytes", written, text.size());
        // Half a line would make the next one unreadable.
        struct stat status {};
        if (fstat(journal, &status) != 0 || ftruncate(journal, status.st_size - written) != 0)
            found += ", and half a line stays there: " + errno_text(errno);
    }
    return environment_error("journal", "writing", found);
}

SessionRecord read_record(const fs::path& directory) {
    SessionRecord record;
    record.id = directory.filename().string();
    record.directory = directory.string();
    record.state = "unreadable";
    std::ifstream file(directory / "journal");
    json merged = json::object();
    for (std::string line; std::getline(file, line);) {
        const auto fields = json::parse(line, nullptr, false);
        if (fields.is_object()) merged.update(fields);  // a line that was cut by a crash is none
    }
    const auto text = [&merged](const char* key, const std::string& value = {}) {
        const auto field = merged.find(key);
        return field != merged.end() && field->is_string() ? field->get<std::string>() : value;
    };
    const auto number = [&merged](const char* key) {
        const auto field = merged.find(key);
        return field != merged.end() && field->is_number_integer() ? field->get<long>() : 0L;
    };
    const auto flag = [&merged](const char* key) {
        const auto field = merged.find(key);
        return field != merged.end() && field->is_boolean() && field->get<bool>();
    };
    if (text("direction") == direction_name(Direction::to_xen)) record.direction = Direction::to_xen;
    record.name = text("name");
    record.uuid = text("uuid");
    record.state = text("state", record.state);
    record.started = text("started");
    record.note = text("note");
    record.vmferry_pid = number("vmferry_pid");
    record.qemu_pid = number("qemu_pid");
    record.qmp_socket = text("qmp_socket");
    record.adopted = flag("adopted");
    record.paused = flag("paused");
    record.permission = flag("permission");
    record.recorded = flag("recorded");
    const Descriptor journal(open((directory / "journal").c_str(), O_RDONLY | O_CLOEXEC));
    record.driven = journal.valid() && flock(journal.get(), LOCK_SH | LOCK_NB) != 0;
    // A source that does not wait for us has completed by now, and stands still until somebody continues it.
    const bool before_doubt = record.state == "connecting" || record.state == "copying" ||
                              record.state == "paused at source" || record.state == "loaded";
    if (flag("source_does_not_wait") && before_doubt && !record.driven) record.state = "in doubt";
    const auto start = process_start_time(record.qemu_pid);
    record.qemu_alive = start != 0 && static_cast<long>(start) == number("qemu_start_time");
    return record;
}

void prune_ended(const fs::path& ended) {
    std::vector<std::pair<fs::file_time_type, fs::path>> found;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(ended, error))
        found.emplace_back(fs::last_write_time(entry.path(), error), entry.path());
    std::ranges::sort(found);
    while (found.size() > kept_ended) {
        fs::remove_all(found.front().second, error);
        found.erase(found.begin());
    }
}

Result<Descriptor> take_lock(const std::string& path) {
    Descriptor lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lock.valid() || flock(lock.get(), LOCK_EX) != 0)
        return environment_error("state directory", "locking " + path, errno_text(errno));
    return lock;
}

}  // namespace

const char* direction_name(Direction direction) {
    return direction == Direction::to_xen ? "to Xen" : "to QEMU";
}

std::uint64_t process_start_time(long pid) {
    if (pid <= 0) return 0;
    std::ifstream file(fmt::format("/proc/{}/stat", pid));
    std::string text;
    std::getline(file, text);
    // The second field is the program's name in parentheses and may hold anything; field 22 is wanted.
    const auto name_end = text.rfind(')');
    if (name_end == std::string::npos) return 0;
    std::istringstream fields(text.substr(name_end + 1));
    std::string field, state;
    for (int i = 3; i <= 22 && fields >> field; ++i)
        if (i == 3) state = field;
    return state == "Z" || state == "X" ? 0 : std::strtoull(field.c_str(), nullptr, 10);
}

SessionDirectory::SessionDirectory(std::string state_directory, std::string id)
    : state_directory_(std::move(state_directory)),
      id_(std::move(id)),
      path_(state_directory_ + "/sessions/" + id_) {}

Result<std::unique_ptr<SessionDirectory>> SessionDirectory::create(const std::string& state_directory,
                                                                   const std::string& name,
                                                                   const std::string& uuid,
                                                                   Direction direction) {
    const auto sessions = state_directory + "/sessions";
    std::error_code error;
    fs::create_directories(sessions, error);
    if (error) return environment_error("state directory", "making " + sessions, error.message());
    VMFERRY_ASSIGN(const auto lock, take_lock(sessions + "/lock"));
    for (const auto& other : list_sessions(state_directory)) {
        if (other.is_over()) {
            archive_session(state_directory, other.id);
            continue;
        }
        if (other.name != name && (uuid.empty() || other.uuid != uuid)) continue;
        const bool runs_here = !other.driven && other.state != "in doubt";
        if (direction == Direction::to_xen && runs_here) continue;
        Error taken{ErrorKind::refused, "session", "claiming the guest", {}, 0, {}, {}};
        taken.found =
            fmt::format("session {} has {} ({}), state {}", other.id, other.name, other.uuid, other.state);
        taken.expected = "one session for a name or uuid";
        taken.hint =
            other.state == "in doubt" ? "vmferry resolve " + other.id + " run|destroy" : "vmferry sessions";
        return std::unexpected(std::move(taken));
    }
    std::unique_ptr<SessionDirectory> self(
        new SessionDirectory(state_directory, path_word(name) + "-" + random_hex()));
    if (!fs::create_directory(self->path_, error))
        return environment_error("state directory", "making " + self->path_, error.message());
    if (auto begun = self->begin(name, uuid, direction); !begun) {
        fs::remove_all(self->path_, error);
        return std::unexpected(std::move(begun).error());
    }
    return self;
}

Result<void> SessionDirectory::begin(const std::string& name, const std::string& uuid, Direction direction) {
    std::error_code error;
    fs::permissions(path_, fs::perms::owner_all, error);
    journal_ = Descriptor(
        open((path_ + "/journal").c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600));
    if (!journal_.valid() || flock(journal_.get(), LOCK_EX) != 0)
        return environment_error("journal", "making it", errno_text(errno));
    // A disk that fills up later does not take the lines that matter. Not every file system can reserve.
    if (fallocate(journal_.get(), FALLOC_FL_KEEP_SIZE, 0, journal_reserve) != 0 &&
        (errno == ENOSPC || errno == EDQUOT))
        return environment_error("journal", fmt::format("reserving {} bytes", journal_reserve),
                                 errno_text(errno));
    VMFERRY_TRY(note({{"schema", "vmferry-journal/1"},
                      {"session", id_},
                      {"state", "connecting"},
                      {"started", now_text()},
                      {"direction", direction_name(direction)},
                      {"name", name},
                      {"uuid", uuid},
                      {"vmferry_pid", getpid()}},
                     Sync::yes));
    VMFERRY_TRY(sync_directory(path_));
    return sync_directory(state_directory_ + "/sessions");
}

Result<void> SessionDirectory::note(const json& fields, Sync sync) {
    return append_line(journal_.get(), fields, sync == Sync::yes);
}

Result<void> SessionDirectory::write_file(const std::string& name, std::string_view text) {
    std::ofstream file(path_ + "/" + name, std::ios::binary);
    file << text;
    file.close();
    if (!file)
        return environment_error("state directory", "writing " + path_ + "/" + name, errno_text(errno));
    return {};
}

Result<void> SessionDirectory::write_audit(const AuditReport& audit) {
    constexpr const char* verdicts[] = {"carried", "adapted", "allowed", "refused"};
    json findings = json::array();
    for (const auto& finding : audit.findings())
        findings.push_back({{"verdict", verdicts[static_cast<int>(finding.verdict)]},
                            {"rule", finding.rule},
                            {"text", finding.text}});
    return write_file("audit.json", findings.dump(1, ' ', true, json::error_handler_t::replace) + "\n");
}

std::string SessionDirectory::archive() {
    journal_.reset();
    archive_session(state_directory_, id_);
    return state_directory_ + "/ended/" + id_;
}

bool SessionRecord::is_over() const {
    const bool runs_here = qemu_alive && direction == Direction::to_qemu;
    return !driven && !runs_here && state != "in doubt";
}

std::vector<SessionRecord> list_sessions(const std::string& state_directory) {
    std::vector<SessionRecord> found;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(state_directory + "/sessions", error))
        if (entry.is_directory(error)) found.push_back(read_record(entry.path()));
    std::ranges::sort(found, {}, &SessionRecord::id);
    return found;
}

Result<SessionRecord> find_session(const std::string& state_directory, const std::string& id) {
    for (auto& record : list_sessions(state_directory))
        if (record.id == id) return std::move(record);
    return std::unexpected(Error{
        ErrorKind::usage, "session", id, {}, 0, "no such session", "an id that `vmferry sessions` shows"});
}

Result<void> append_to_journal(const SessionRecord& session, const json& fields) {
    const Descriptor journal(open((session.directory + "/journal").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    if (!journal.valid()) return environment_error("journal", "opening it", errno_text(errno));
    return append_line(journal.get(), fields, true);
}

void archive_session(const std::string& state_directory, const std::string& id) {
    const fs::path ended = state_directory + "/ended", session = state_directory + "/sessions/" + id;
    std::error_code error;
    for (const auto* socket : {"qmp", "stream"}) fs::remove(session / socket, error);
    fs::create_directories(ended, error);
    fs::rename(session, ended / id, error);
    if (error) fs::remove_all(session, error);
    prune_ended(ended);
}

}  // namespace vmferry
