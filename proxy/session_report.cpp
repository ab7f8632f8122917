#include "proxy/session_report.hpp"

namespace vmferry {

const char* session_state_name(SessionState state) {
    switch (state) {
        case SessionState::connecting:
            return "connecting";
        case SessionState::copying:
            return "copying";
        case SessionState::paused_at_source:
            return "paused at source";
        case SessionState::loaded:
            return "loaded";
        case SessionState::in_doubt:
            return "in doubt";
        case SessionState::running:
            return "running";
        case SessionState::reported:
            return "reported";
    }
    return "";
}

}  // namespace vmferry
