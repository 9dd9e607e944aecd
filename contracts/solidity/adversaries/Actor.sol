// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// An account that is a contract: it does what it is told, and lets a re-entrant token act through it, so that
/// the one who enters again is the one who is being paid.
contract Actor {
    function act(address target, bytes calldata call_) external returns (bytes memory) {
        (bool ok, bytes memory answer) = target.call(call_);
        if (!ok) {
            assembly {
                revert(add(answer, 32), mload(answer))
            }
        }
        return answer;
    }
}
