// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Guarded} from "./Guarded.sol";

/// Holds stakes. A few contracts, named once and for ever, may lock and slash them. Stake leaves only by
/// unbonding, and what is unbonding can still be slashed. It judges nobody itself.
contract StakeVault is Guarded {
    using SafeERC20 for IERC20;

    struct Account {
        /// Locked or free.
        uint128 staked;
        /// On its way out.
        uint128 unbonding;
        /// How much of the stake is spoken for; more than the stake if some of that was slashed.
        uint128 locked;
        /// When what is unbonding may leave, seconds.
        uint64 readyAt;
    }

    event Staked(address indexed account, uint128 amount);
    event Unbonding(address indexed account, uint128 amount, uint64 readyAt);
    event Withdrawn(address indexed account, uint128 amount);
    event Locked(address indexed account, address indexed locker, uint128 amount);
    event Unlocked(address indexed account, address indexed locker, uint128 amount);
    event Slashed(address indexed account, address indexed challenger, uint128 amount);
    event Collected(address indexed account, uint256 amount);

    error NotLocker(address caller);
    error FreeStakeTooSmall(address account, uint128 free, uint128 wanted);
    error LockTooSmall(address account, uint128 locked, uint128 wanted);
    error NotReady(uint64 readyAt);
    error Nothing();

    /// Where slashed tokens go that nobody shall have.
    address public constant BURNED = 0x000000000000000000000000000000000000dEaD;
    uint256 public constant CHALLENGER_BPS = 4_000;
    uint256 public constant BURNED_BPS = 4_000;
    uint256 private constant WHOLE_BPS = 10_000;

    IERC20 public immutable token;
    address public immutable insurance;
    uint64 public immutable unbondingSeconds;

    mapping(address => Account) public accounts;
    mapping(address => bool) public isLocker;
    mapping(address locker => mapping(address account => uint128)) public lockedBy;
    /// Slashed, and not collected yet.
    mapping(address => uint256) public owed;

    constructor(
        IERC20 token_,
        address guardian_,
        address insurance_,
        uint64 unbondingSeconds_,
        address[] memory lockers
    ) Guarded(guardian_) {
        token = token_;
        insurance = insurance_;
        unbondingSeconds = unbondingSeconds_;
        for (uint256 i = 0; i < lockers.length; ++i) isLocker[lockers[i]] = true;
    }

    function stake(uint128 amount) external whenNotPaused nonReentrant {
        if (amount == 0) revert Nothing();
        accounts[msg.sender].staked += amount;
        emit Staked(msg.sender, amount);
        token.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// Sends free stake on its way out. What is already on its way waits with it, from now.
    function requestUnstake(uint128 amount) external nonReentrant {
        if (amount == 0) revert Nothing();
        Account storage account = accounts[msg.sender];
        _takeFree(account, msg.sender, amount);
        account.staked -= amount;
        account.unbonding += amount;
        account.readyAt = uint64(block.timestamp) + unbondingSeconds;
        emit Unbonding(msg.sender, amount, account.readyAt);
    }

    /// Pays what has unbonded, to its owner alone, whoever calls.
    function withdraw(address owner) external nonReentrant {
        Account storage account = accounts[owner];
        uint128 amount = account.unbonding;
        if (amount == 0) revert Nothing();
        if (block.timestamp < account.readyAt) revert NotReady(account.readyAt);
        account.unbonding = 0;
        emit Withdrawn(owner, amount);
        token.safeTransfer(owner, amount);
    }

    /// Pays what slashes have left to an account, whoever calls.
    function collect(address account) external nonReentrant {
        uint256 amount = owed[account];
        if (amount == 0) revert Nothing();
        owed[account] = 0;
        emit Collected(account, amount);
        token.safeTransfer(account, amount);
    }

    /// Binds free stake until the same locker unlocks it.
    function lock(address owner, uint128 amount) external nonReentrant {
        _onlyLocker();
        Account storage account = accounts[owner];
        _takeFree(account, owner, amount);
        account.locked += amount;
        lockedBy[msg.sender][owner] += amount;
        emit Locked(owner, msg.sender, amount);
    }

    function unlock(address owner, uint128 amount) external nonReentrant {
        _onlyLocker();
        uint128 held = lockedBy[msg.sender][owner];
        if (amount > held) revert LockTooSmall(owner, held, amount);
        _unlock(owner, held, amount);
    }

    /// Takes up to an amount: what the caller has locked, then any other stake, then what is unbonding.
    /// The challenger gets less than was taken, so that challenging oneself always loses.
    function slash(
        address owner,
        uint128 amount,
        address challenger
    ) external nonReentrant returns (uint128 taken) {
        _onlyLocker();
        uint128 held = lockedBy[msg.sender][owner];
        _unlock(owner, held, uint128(Math.min(held, amount)));
        Account storage account = accounts[owner];
        uint128 fromStake = uint128(Math.min(account.staked, amount));
        uint128 fromUnbonding = uint128(Math.min(account.unbonding, amount - fromStake));
        account.staked -= fromStake;
        account.unbonding -= fromUnbonding;
        taken = fromStake + fromUnbonding;
        uint256 toChallenger = (taken * CHALLENGER_BPS) / WHOLE_BPS;
        uint256 burned = (taken * BURNED_BPS) / WHOLE_BPS;
        owed[challenger] += toChallenger;
        owed[BURNED] += burned;
        owed[insurance] += taken - toChallenger - burned;
        emit Slashed(owner, challenger, taken);
    }

    /// What an account may still lock or take out.
    function freeOf(address owner) external view returns (uint128) {
        return _free(accounts[owner]);
    }

    function _free(Account storage account) private view returns (uint128) {
        return account.staked > account.locked ? account.staked - account.locked : 0;
    }

    function _takeFree(Account storage account, address owner, uint128 amount) private view {
        uint128 free = _free(account);
        if (amount > free) revert FreeStakeTooSmall(owner, free, amount);
    }

    function _unlock(address owner, uint128 held, uint128 amount) private {
        lockedBy[msg.sender][owner] = held - amount;
        accounts[owner].locked -= amount;
        emit Unlocked(owner, msg.sender, amount);
    }

    function _onlyLocker() private view {
        if (!isLocker[msg.sender]) revert NotLocker(msg.sender);
    }
}
