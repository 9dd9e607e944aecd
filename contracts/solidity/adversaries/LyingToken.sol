// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// A token that can be told to answer false, moving nothing.
contract LyingToken is ERC20("Lying token", "LIE") {
    bool public lying;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function lie(bool lying_) external {
        lying = lying_;
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        return lying ? false : super.transfer(to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        return lying ? false : super.transferFrom(from, to, amount);
    }
}
