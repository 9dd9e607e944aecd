// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// A token that calls back in the middle of each transfer, and remembers whether anybody let it in.
contract ReentrantToken is ERC20("Re-entrant token", "TWICE") {
    address private _target;
    bytes private _call;
    uint256 public attempts;
    uint256 public entered;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    /// From now on each transfer makes this call; a target of zero makes none.
    function arm(address target, bytes calldata call_) external {
        _target = target;
        _call = call_;
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (_target == address(0)) return;
        address target = _target;
        // Only once, or it would never end where it is let in.
        _target = address(0);
        ++attempts;
        (bool ok, ) = target.call(_call);
        if (ok) ++entered;
        _target = target;
    }
}
