// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Guarded} from "./Guarded.sol";
import {ShardRevenue} from "./ShardRevenue.sol";

/// Pays for inference. A payer puts money into lanes, one for each stage of a host that serves it, and signs
/// vouchers over what it owes in all; the host redeems the last it has. A voucher pays what it says less what
/// was paid, so a lost one costs nothing and a replayed one pays nothing. It doesn't know whether anything
/// was served: a host never serves more than it can bear to lose.
contract InferenceEscrow is Guarded, EIP712 {
    using SafeERC20 for IERC20;

    struct Lane {
        /// What is left in it.
        uint128 deposit;
        /// What was paid under its vouchers, since the beginning.
        uint128 redeemed;
    }

    struct Thaw {
        uint128 amount;
        uint64 readyAt;
    }

    /// A voucher of the host, model and stage that it is redeemed for.
    struct Voucher {
        address payer;
        uint64 expiry;
        uint128 cumulative;
        bytes32 r;
        bytes32 vs;
    }

    /// One signature over what is owed to every stage of a path.
    struct PathVoucher {
        address payer;
        uint64 expiry;
        bytes32 root;
        bytes32 r;
        bytes32 vs;
    }

    enum Refusal {
        None,
        Expired,
        Forged,
        Spent,
        Uncovered
    }

    event Deposited(
        address indexed payer,
        address indexed host,
        bytes32 indexed model,
        uint32 stage,
        uint128 amount
    );
    event Thawing(bytes32 indexed lane, uint128 amount, uint64 readyAt);
    event Refunded(bytes32 indexed lane, address indexed payer, uint128 amount);
    event Redeemed(bytes32 indexed lane, uint128 paid, uint128 redeemed);
    event Refused(bytes32 indexed lane, Refusal reason);
    event Earned(
        address indexed host,
        bytes32 indexed model,
        uint32 stage,
        uint128 toHost,
        uint128 toShard,
        uint128 toAuditors
    );
    event Withdrawn(address indexed account, uint128 amount);

    error NotRedeemed(Refusal reason);
    error NoHost();
    error NotProven();
    error DepositTooSmall(uint128 deposit, uint128 wanted);
    error NotReady(uint64 readyAt);
    error Nothing();

    uint256 public constant ROYALTY_BPS = 2_000;
    uint256 public constant AUDIT_BPS = 300;
    uint256 private constant WHOLE_BPS = 10_000;
    bytes32 public constant VOUCHER_TYPEHASH = keccak256(
        "Voucher(address payer,address host,bytes32 model,uint32 stage,uint64 expiry,uint128 cumulative)"
    );
    bytes32 public constant PATH_TYPEHASH =
        keccak256("PathVoucher(address payer,bytes32 root,uint64 expiry)");

    IERC20 public immutable token;
    ShardRevenue public immutable revenue;
    address public immutable auditors;
    uint64 public immutable thawSeconds;

    mapping(bytes32 lane => Lane) public lanes;
    mapping(bytes32 lane => Thaw) public thaws;
    mapping(address => uint128) public earned;

    constructor(
        IERC20 token_,
        address guardian_,
        ShardRevenue revenue_,
        address auditors_,
        uint64 thawSeconds_
    ) Guarded(guardian_) EIP712("Murmuration InferenceEscrow", "1") {
        token = token_;
        revenue = revenue_;
        auditors = auditors_;
        thawSeconds = thawSeconds_;
    }

    function laneOf(
        address payer,
        address host,
        bytes32 model,
        uint32 stage
    ) public pure returns (bytes32) {
        return keccak256(abi.encode(payer, host, model, stage));
    }

    /// A payer's reserve, which steps in for lanes that are empty, is the lane to nobody.
    function reserveOf(address payer) public pure returns (bytes32) {
        return laneOf(payer, address(0), 0, 0);
    }

    /// Opens a lane or adds to it.
    function deposit(address host, bytes32 model, uint32 stage, uint128 amount) external {
        if (host == address(0)) revert NoHost();
        _deposit(host, model, stage, amount);
    }

    function depositReserve(uint128 amount) external {
        _deposit(address(0), 0, 0, amount);
    }

    /// Moves money from the caller's reserve into a lane.
    function allocate(address host, bytes32 model, uint32 stage, uint128 amount) external whenNotPaused {
        if (host == address(0)) revert NoHost();
        Lane storage reserve = lanes[reserveOf(msg.sender)];
        if (amount > reserve.deposit) revert DepositTooSmall(reserve.deposit, amount);
        reserve.deposit -= amount;
        lanes[laneOf(msg.sender, host, model, stage)].deposit += amount;
        emit Deposited(msg.sender, host, model, stage, amount);
    }

    /// Announces a refund. Until it is taken the host may redeem from it.
    function thaw(address host, bytes32 model, uint32 stage, uint128 amount) external {
        bytes32 id = laneOf(msg.sender, host, model, stage);
        uint128 available = lanes[id].deposit;
        if (amount > available) revert DepositTooSmall(available, amount);
        uint64 readyAt = uint64(block.timestamp) + thawSeconds;
        thaws[id] = Thaw(amount, readyAt);
        emit Thawing(id, amount, readyAt);
    }

    /// Takes what was announced, as far as it is still there, back to its payer, whoever calls.
    function refund(address payer, address host, bytes32 model, uint32 stage) external nonReentrant {
        bytes32 id = laneOf(payer, host, model, stage);
        Thaw memory thawing = thaws[id];
        if (block.timestamp < thawing.readyAt) revert NotReady(thawing.readyAt);
        Lane storage lane = lanes[id];
        uint128 amount = uint128(Math.min(thawing.amount, lane.deposit));
        if (amount == 0) revert Nothing();
        delete thaws[id];
        lane.deposit -= amount;
        emit Refunded(id, payer, amount);
        token.safeTransfer(payer, amount);
    }

    /// Redeems one voucher, or says why not.
    function redeem(
        address host,
        bytes32 model,
        uint32 stage,
        Voucher calldata voucher
    ) external nonReentrant {
        if (host == address(0)) revert NoHost();
        (uint128 paid, Refusal reason) = _redeem(host, model, stage, voucher);
        if (reason != Refusal.None) revert NotRedeemed(reason);
        _share(host, model, stage, paid);
    }

    /// Redeems those of the vouchers that are good; a bad one costs the others nothing.
    function redeemMany(
        address host,
        bytes32 model,
        uint32 stage,
        Voucher[] calldata vouchers
    ) external nonReentrant {
        if (host == address(0)) revert NoHost();
        uint128 total = 0;
        for (uint256 i = 0; i < vouchers.length; ++i) {
            (uint128 paid, Refusal reason) = _redeem(host, model, stage, vouchers[i]);
            if (reason == Refusal.None) total += paid;
            else emit Refused(laneOf(vouchers[i].payer, host, model, stage), reason);
        }
        if (total > 0) _share(host, model, stage, total);
    }

    /// Redeems what a voucher over a whole path owes to one stage of it.
    function redeemRoot(
        address host,
        bytes32 model,
        uint32 stage,
        uint128 cumulative,
        PathVoucher calldata path,
        bytes32[] calldata proof
    ) external nonReentrant {
        if (host == address(0)) revert NoHost();
        bytes32 inner = keccak256(abi.encode(host, model, stage, cumulative));
        if (!MerkleProof.verifyCalldata(proof, path.root, keccak256(abi.encode(inner)))) revert NotProven();
        bytes32 hash = keccak256(abi.encode(PATH_TYPEHASH, path.payer, path.root, path.expiry));
        Refusal reason = _check(hash, path.payer, path.expiry, path.r, path.vs);
        uint128 paid = 0;
        if (reason == Refusal.None) {
            (paid, reason) = _pay(path.payer, laneOf(path.payer, host, model, stage), cumulative);
        }
        if (reason != Refusal.None) revert NotRedeemed(reason);
        _share(host, model, stage, paid);
    }

    /// Pays what an account has earned, to that account, whoever calls.
    function withdraw(address account) external nonReentrant {
        uint128 amount = earned[account];
        if (amount == 0) revert Nothing();
        earned[account] = 0;
        emit Withdrawn(account, amount);
        token.safeTransfer(account, amount);
    }

    function _deposit(
        address host,
        bytes32 model,
        uint32 stage,
        uint128 amount
    ) private whenNotPaused nonReentrant {
        if (amount == 0) revert Nothing();
        lanes[laneOf(msg.sender, host, model, stage)].deposit += amount;
        emit Deposited(msg.sender, host, model, stage, amount);
        token.safeTransferFrom(msg.sender, address(this), amount);
    }

    function _redeem(
        address host,
        bytes32 model,
        uint32 stage,
        Voucher calldata voucher
    ) private returns (uint128 paid, Refusal reason) {
        bytes32 hash = keccak256(
            abi.encode(
                VOUCHER_TYPEHASH,
                voucher.payer,
                host,
                model,
                stage,
                voucher.expiry,
                voucher.cumulative
            )
        );
        reason = _check(hash, voucher.payer, voucher.expiry, voucher.r, voucher.vs);
        if (reason != Refusal.None) return (0, reason);
        return _pay(voucher.payer, laneOf(voucher.payer, host, model, stage), voucher.cumulative);
    }

    function _check(
        bytes32 hash,
        address payer,
        uint64 expiry,
        bytes32 r,
        bytes32 vs
    ) private view returns (Refusal) {
        if (block.timestamp > expiry) return Refusal.Expired;
        (address signer, , ) = ECDSA.tryRecover(_hashTypedDataV4(hash), r, vs);
        return signer == address(0) || signer != payer ? Refusal.Forged : Refusal.None;
    }

    /// Takes what is owed from the lane, and what the lane lacks from the reserve.
    function _pay(
        address payer,
        bytes32 id,
        uint128 cumulative
    ) private returns (uint128 paid, Refusal reason) {
        Lane memory lane = lanes[id];
        if (cumulative <= lane.redeemed) return (0, Refusal.Spent);
        uint128 due = cumulative - lane.redeemed;
        paid = uint128(Math.min(due, lane.deposit));
        lane.deposit -= paid;
        if (paid < due) {
            Lane storage reserve = lanes[reserveOf(payer)];
            uint128 more = uint128(Math.min(due - paid, reserve.deposit));
            if (more > 0) reserve.deposit -= more;
            paid += more;
            if (paid == 0) return (0, Refusal.Uncovered);
        }
        lane.redeemed += paid;
        lanes[id] = lane;
        emit Redeemed(id, paid, lane.redeemed);
    }

    /// Shares a payment between the host, those who trained the shard, and the auditors.
    function _share(address host, bytes32 model, uint32 stage, uint128 paid) private {
        uint128 toShard = uint128((uint256(paid) * ROYALTY_BPS) / WHOLE_BPS);
        uint128 toAuditors = uint128((uint256(paid) * AUDIT_BPS) / WHOLE_BPS);
        uint128 toHost = paid - toShard - toAuditors;
        earned[host] += toHost;
        earned[auditors] += toAuditors;
        emit Earned(host, model, stage, toHost, toShard, toAuditors);
        if (toShard == 0) return;
        token.safeTransfer(address(revenue), toShard);
        revenue.receiveRevenue(model, stage, toShard);
    }
}
