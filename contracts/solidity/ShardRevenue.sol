// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {TrainingRewards} from "./TrainingRewards.sol";

/// Shares what a shard earns in inference among those who trained it, by the credit that training gave them.
/// Credit is proved against a final epoch and can't be handed on. Nothing here can be paused.
contract ShardRevenue is ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    struct Pool {
        /// Revenue of one unit of credit since the beginning, times SCALE.
        uint256 accPerCredit;
        uint128 totalCredit;
        /// Revenue that could not be shared yet: nobody held credit, or it does not divide.
        uint128 carry;
    }

    struct Share {
        /// The pool's accPerCredit when this share was last settled.
        uint256 settledAt;
        uint128 credit;
        /// Settled, and not withdrawn yet.
        uint128 owed;
    }

    event Received(bytes32 indexed model, uint32 indexed stage, uint128 amount);
    event CreditSet(bytes32 indexed model, uint32 indexed stage, address indexed account, uint128 credit);
    event Withdrawn(bytes32 indexed model, address indexed account, uint32 stage, uint128 amount);

    error NotEscrow(address caller);
    error NotProven();
    error CreditNotRising(uint128 credit);
    error Nothing();

    uint256 public constant SCALE = 1e18;

    IERC20 public immutable token;
    address public immutable escrow;
    TrainingRewards public immutable rewards;

    mapping(bytes32 model => mapping(uint32 stage => Pool)) public pools;
    mapping(bytes32 model => mapping(uint32 stage => mapping(address account => Share))) public shares;

    constructor(IERC20 token_, address escrow_, TrainingRewards rewards_) {
        token = token_;
        escrow = escrow_;
        rewards = rewards_;
    }

    /// The escrow says that it has just transferred so much for a shard.
    function receiveRevenue(bytes32 model, uint32 stage, uint128 amount) external nonReentrant {
        if (msg.sender != escrow) revert NotEscrow(msg.sender);
        Pool storage pool = pools[model][stage];
        pool.carry += amount;
        _distribute(pool);
        emit Received(model, stage, amount);
    }

    /// Raises an account's credit to what a final epoch says, whoever calls. It earns from now on.
    function syncCredit(
        bytes32 model,
        uint32 stage,
        address account,
        uint64 epoch,
        uint128 cumReward,
        uint128 cumCredit,
        bytes32[] calldata proof
    ) external nonReentrant {
        if (!rewards.proven(model, stage, account, epoch, cumReward, cumCredit, proof)) revert NotProven();
        Share storage share = shares[model][stage][account];
        if (cumCredit <= share.credit) revert CreditNotRising(share.credit);
        Pool storage pool = pools[model][stage];
        _distribute(pool);
        _settle(pool, share);
        pool.totalCredit += cumCredit - share.credit;
        share.credit = cumCredit;
        emit CreditSet(model, stage, account, cumCredit);
    }

    /// Pays what a share has earned to its account, whoever calls.
    function withdraw(bytes32 model, uint32 stage, address account) external nonReentrant {
        Pool storage pool = pools[model][stage];
        Share storage share = shares[model][stage][account];
        _distribute(pool);
        _settle(pool, share);
        uint128 amount = share.owed;
        if (amount == 0) revert Nothing();
        share.owed = 0;
        emit Withdrawn(model, account, stage, amount);
        token.safeTransfer(account, amount);
    }

    /// What `withdraw` would pay.
    function withdrawable(bytes32 model, uint32 stage, address account) external view returns (uint128) {
        Pool memory pool = pools[model][stage];
        Share memory share = shares[model][stage][account];
        (uint256 rise, ) = _rise(pool.carry, pool.totalCredit);
        return share.owed + _earned(share.credit, pool.accPerCredit + rise - share.settledAt);
    }

    function _distribute(Pool storage pool) private {
        (uint256 rise, uint128 spent) = _rise(pool.carry, pool.totalCredit);
        pool.accPerCredit += rise;
        pool.carry -= spent;
    }

    function _settle(Pool storage pool, Share storage share) private {
        share.owed += _earned(share.credit, pool.accPerCredit - share.settledAt);
        share.settledAt = pool.accPerCredit;
    }

    function _earned(uint128 credit, uint256 rise) private pure returns (uint128) {
        return uint128(Math.mulDiv(credit, rise, SCALE));
    }

    /// By how much accPerCredit rises, and what all shares together may then withdraw.
    function _rise(uint128 carry, uint128 totalCredit) private pure returns (uint256 rise, uint128 spent) {
        if (totalCredit == 0) return (0, 0);
        rise = Math.mulDiv(carry, SCALE, totalCredit);
        spent = uint128(Math.mulDiv(rise, totalCredit, SCALE, Math.Rounding.Ceil));
    }
}
