// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// Play money of local chains and test networks: whoever asks gets some. Never deploy it where money counts.
contract TestToken is ERC20("Murmuration test token", "MURT") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}
