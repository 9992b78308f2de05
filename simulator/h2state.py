"""h2's state machine, set up for a server that is in a hurry."""

from typing import Final

import h2.config
import h2.connection
import h2.settings

CONNECTION_WINDOW: Final = 1 << 24
_STREAM_WINDOW: Final = 1 << 20
_PROTOCOL_WINDOW: Final = (1 << 16) - 1  # RFC 9113, 6.9.2: what every connection starts with


def server_state(max_streams: int) -> h2.connection.H2Connection:
    """Give a server's state machine with its preface and its wide window ready to be sent."""
    # What is sent is ours and right; what is received comes from a client under test, whose headers
    # are not this program's to judge. Not validating saves a third of the time.
    config = h2.config.H2Configuration(
        client_side=False,
        header_encoding="utf-8",
        validate_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
        normalize_inbound_headers=False,
    )
    state = h2.connection.H2Connection(config=config)
    codes = h2.settings.SettingCodes
    state.local_settings = h2.settings.Settings(
        client=False,
        initial_values={
            codes.MAX_CONCURRENT_STREAMS: max_streams,
            codes.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
            codes.MAX_HEADER_LIST_SIZE: 1 << 16,
        },
    )
    state.initiate_connection()
    state.increment_flow_control_window(CONNECTION_WINDOW - _PROTOCOL_WINDOW)
    return state
