// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// What every contract that lets value in has: a guardian who may close the entrance. It gives the guardian
/// nothing else: no function that takes value out, claims it or disputes it looks at the pause.
abstract contract Guarded is Pausable, ReentrancyGuardTransient {
    error NotGuardian(address caller);

    address public immutable guardian;

    constructor(address guardian_) {
        guardian = guardian_;
    }

    function pause() external {
        _onlyGuardian();
        _pause();
    }

    function unpause() external {
        _onlyGuardian();
        _unpause();
    }

    function _onlyGuardian() private view {
        if (msg.sender != guardian) revert NotGuardian(msg.sender);
    }
}
