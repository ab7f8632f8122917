#include "proxy/source_questions.hpp"

#include <nlohmann/json.hpp>

#include "proxy/qmp_call.hpp"

namespace vmferry {

using nlohmann::json;

namespace {

constexpr std::size_t quoted = 200;  ///< characters of an answer in an error

std::unexpected<Error> odd(std::string asked, const json& answer, const char* expected) {
    return environment_error("QEMU", std::move(asked),
                             answer.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, quoted),
                             expected);
}

const json* member(const json& answer, const char* pointer) {
    const json::json_pointer at{pointer};
    return answer.contains(at) ? &answer[at] : nullptr;
}

}  // namespace

Result<json> SourceQuestions::ask(const char* command) const {
    return qmp_call(loop_, qmp_, command, nullptr, limits_.qmp_answers);
}

Result<json> SourceQuestions::list(const std::string& path) const {
    VMFERRY_ASSIGN(json answer, qmp_call(loop_, qmp_, "qom-list", {{"path", path}}, limits_.qmp_answers));
    if (!answer.is_array()) return odd("qom-list of " + path, answer, "a list");
    return answer;
}

Result<json> SourceQuestions::get(const std::string& path, const char* property) const {
    return qmp_call(loop_, qmp_, "qom-get", {{"path", path}, {"property", property}}, limits_.qmp_answers);
}

Result<std::string> SourceQuestions::text(const std::string& path, const char* property) const {
    VMFERRY_ASSIGN(const json answer, get(path, property));
    if (!answer.is_string()) return odd(path + "." + property, answer, "a text");
    return answer.get<std::string>();
}

Result<std::uint64_t> SourceQuestions::number(const std::string& path, const char* property) const {
    VMFERRY_ASSIGN(const json answer, get(path, property));
    if (!answer.is_number_unsigned()) return odd(path + "." + property, answer, "a number");
    return answer.get<std::uint64_t>();
}

Result<std::string> SourceQuestions::text_in(const json& answer, const char* pointer, const char* command) {
    const auto* value = member(answer, pointer);
    if (value == nullptr || !value->is_string())
        return odd(command, answer, (std::string("a text at ") + pointer).c_str());
    return value->get<std::string>();
}

Result<std::uint64_t> SourceQuestions::number_in(const json& answer, const char* pointer,
                                                 const char* command) {
    const auto* value = member(answer, pointer);
    if (value == nullptr || !value->is_number_unsigned())
        return odd(command, answer, (std::string("a number at ") + pointer).c_str());
    return value->get<std::uint64_t>();
}

}  // namespace vmferry
