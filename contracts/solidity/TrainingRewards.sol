// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Guarded} from "./Guarded.sol";
import {StageRegistry} from "./StageRegistry.sol";
import {StakeVault} from "./StakeVault.sol";

/// Pays for training. Per epoch somebody proposes, under a bond, a root over what every account has earned
/// since the beginning; who finds it wrong challenges it under a bond of its own, and the arbiter decides.
/// It can't tell by itself what is right; it makes sure that a stage never gets more than its share.
contract TrainingRewards is Guarded {
    using SafeERC20 for IERC20;

    struct Program {
        /// What an epoch brings, in tokens.
        uint128 emission;
        /// What is left to be emitted.
        uint128 pool;
        /// The last final epoch; the first is 1.
        uint64 epoch;
        /// When the next may be proposed, seconds.
        uint64 nextAt;
    }

    struct Proposal {
        bytes32 root;
        address proposer;
        uint64 proposedAt;
        address challenger;
        uint64 challengedAt;
    }

    struct Budget {
        uint128 emitted;
        uint128 claimed;
    }

    event Funded(bytes32 indexed model, address indexed from, uint128 amount);
    event EmissionSet(bytes32 indexed model, uint128 emission);
    event Proposed(
        bytes32 indexed model,
        uint64 indexed epoch,
        address indexed proposer,
        bytes32 root,
        bytes32 leavesHash
    );
    event Challenged(bytes32 indexed model, uint64 indexed epoch, address indexed challenger);
    event Rejected(bytes32 indexed model, uint64 indexed epoch);
    event Finalized(bytes32 indexed model, uint64 indexed epoch, bytes32 root, uint128 emitted);
    event Claimed(bytes32 indexed model, address indexed account, uint32 stage, uint128 amount);

    error NotModelOwner(address caller);
    error NotArbiter(address caller);
    error WrongEpoch(uint64 expected);
    error TooEarly(uint64 since);
    error TooLate(uint64 until);
    error ProposalPending(address proposer);
    error NoProposal();
    error AlreadyChallenged(address challenger);
    error NotChallenged();
    error EmptyRoot();
    error NotProven();
    error OverEmission(uint128 left, uint128 wanted);
    error Nothing();

    uint256 private constant WHOLE_BPS = 10_000;

    IERC20 public immutable token;
    StakeVault public immutable vault;
    StageRegistry public immutable registry;
    address public immutable arbiter;
    uint128 public immutable bond;
    uint64 public immutable epochSeconds;
    uint64 public immutable windowSeconds;
    uint64 public immutable rulingSeconds;

    mapping(bytes32 model => Program) public programs;
    mapping(bytes32 model => Proposal) public proposals;
    mapping(bytes32 model => mapping(uint64 epoch => bytes32)) public roots;
    mapping(bytes32 model => mapping(uint32 stage => Budget)) public budgets;
    mapping(bytes32 model => mapping(uint32 stage => mapping(address account => uint128))) public claimed;

    constructor(
        IERC20 token_,
        address guardian_,
        StakeVault vault_,
        StageRegistry registry_,
        address arbiter_,
        uint128 bond_,
        uint64 windowSeconds_,
        uint64 rulingSeconds_
    ) Guarded(guardian_) {
        token = token_;
        vault = vault_;
        registry = registry_;
        arbiter = arbiter_;
        bond = bond_;
        epochSeconds = registry_.epochSeconds();
        windowSeconds = windowSeconds_;
        rulingSeconds = rulingSeconds_;
    }

    function fund(bytes32 model, uint128 amount) external whenNotPaused nonReentrant {
        if (amount == 0) revert Nothing();
        programs[model].pool += amount;
        emit Funded(model, msg.sender, amount);
        token.safeTransferFrom(msg.sender, address(this), amount);
    }

    function setEmission(bytes32 model, uint128 emission) external {
        (address owner, , , , ) = registry.models(model);
        if (owner != msg.sender) revert NotModelOwner(msg.sender);
        programs[model].emission = emission;
        emit EmissionSet(model, emission);
    }

    /// @param leavesHash where the leaves can be found and checked, by their content.
    function propose(
        bytes32 model,
        uint64 epoch,
        bytes32 root,
        bytes32 leavesHash
    ) external whenNotPaused nonReentrant {
        if (root == 0) revert EmptyRoot();
        Program storage program = programs[model];
        Proposal storage proposal = proposals[model];
        if (proposal.proposer != address(0)) revert ProposalPending(proposal.proposer);
        if (epoch != program.epoch + 1) revert WrongEpoch(program.epoch + 1);
        if (block.timestamp < program.nextAt) revert TooEarly(program.nextAt);
        proposals[model] = Proposal(root, msg.sender, uint64(block.timestamp), address(0), 0);
        emit Proposed(model, epoch, msg.sender, root, leavesHash);
        vault.lock(msg.sender, bond);
    }

    /// @param root what is challenged, so that nobody challenges another by mistake.
    function challenge(bytes32 model, bytes32 root) external nonReentrant {
        Proposal storage proposal = _pending(model);
        if (proposal.root != root) revert NoProposal();
        if (proposal.challenger != address(0)) revert AlreadyChallenged(proposal.challenger);
        uint64 until = proposal.proposedAt + windowSeconds;
        if (block.timestamp >= until) revert TooLate(until);
        proposal.challenger = msg.sender;
        proposal.challengedAt = uint64(block.timestamp);
        emit Challenged(model, programs[model].epoch + 1, msg.sender);
        vault.lock(msg.sender, bond);
    }

    /// The arbiter's word on a challenge: one of the two loses its bond, most of it to nobody's gain.
    function rule(bytes32 model, bool proposerIsRight) external nonReentrant {
        if (msg.sender != arbiter) revert NotArbiter(msg.sender);
        Proposal memory proposal = _challenged(model);
        uint64 until = proposal.challengedAt + rulingSeconds;
        if (block.timestamp >= until) revert TooLate(until);
        delete proposals[model];
        if (proposerIsRight) {
            _finalize(model, proposal);
            vault.slash(proposal.challenger, bond, proposal.proposer);
            vault.unlock(proposal.proposer, bond);
        } else {
            emit Rejected(model, programs[model].epoch + 1);
            vault.slash(proposal.proposer, bond, proposal.challenger);
            vault.unlock(proposal.challenger, bond);
        }
    }

    /// Lets go of a challenge that the arbiter left alone: nobody loses, and the epoch is proposed again.
    function expire(bytes32 model) external nonReentrant {
        Proposal memory proposal = _challenged(model);
        uint64 since = proposal.challengedAt + rulingSeconds;
        if (block.timestamp < since) revert TooEarly(since);
        delete proposals[model];
        emit Rejected(model, programs[model].epoch + 1);
        vault.unlock(proposal.proposer, bond);
        vault.unlock(proposal.challenger, bond);
    }

    /// Makes final what nobody has challenged in time, whoever calls.
    function finalize(bytes32 model) external nonReentrant {
        Proposal memory proposal = _pending(model);
        if (proposal.challenger != address(0)) revert AlreadyChallenged(proposal.challenger);
        uint64 since = proposal.proposedAt + windowSeconds;
        if (block.timestamp < since) revert TooEarly(since);
        delete proposals[model];
        _finalize(model, proposal);
        vault.unlock(proposal.proposer, bond);
    }

    /// Pays what an account has earned at a stage and not claimed yet, to that account, whoever calls.
    function claim(
        bytes32 model,
        uint32 stage,
        address account,
        uint64 epoch,
        uint128 cumReward,
        uint128 cumCredit,
        bytes32[] calldata proof
    ) external nonReentrant {
        if (!proven(model, stage, account, epoch, cumReward, cumCredit, proof)) revert NotProven();
        uint128 before = claimed[model][stage][account];
        if (cumReward <= before) revert Nothing();
        uint128 due = cumReward - before;
        Budget storage budget = budgets[model][stage];
        uint128 left = budget.emitted - budget.claimed;
        if (due > left) revert OverEmission(left, due);
        budget.claimed += due;
        claimed[model][stage][account] = cumReward;
        emit Claimed(model, account, stage, due);
        token.safeTransfer(account, due);
    }

    /// Whether a final epoch says so of an account.
    function proven(
        bytes32 model,
        uint32 stage,
        address account,
        uint64 epoch,
        uint128 cumReward,
        uint128 cumCredit,
        bytes32[] calldata proof
    ) public view returns (bool) {
        bytes32 inner = keccak256(
            abi.encode(block.chainid, address(this), model, stage, account, cumReward, cumCredit)
        );
        // The root of an epoch that is not final is zero, and nothing hashes to that.
        return MerkleProof.verifyCalldata(proof, roots[model][epoch], keccak256(abi.encode(inner)));
    }

    function _pending(bytes32 model) private view returns (Proposal storage proposal) {
        proposal = proposals[model];
        if (proposal.proposer == address(0)) revert NoProposal();
    }

    function _challenged(bytes32 model) private view returns (Proposal memory proposal) {
        proposal = _pending(model);
        if (proposal.challenger == address(0)) revert NotChallenged();
    }

    /// Shares the epoch's emission among the stages by their weights; what can't be divided stays in the pool.
    function _finalize(bytes32 model, Proposal memory proposal) private {
        Program storage program = programs[model];
        uint64 epoch = ++program.epoch;
        program.nextAt = proposal.proposedAt + epochSeconds;
        roots[model][epoch] = proposal.root;
        uint128 emission = uint128(Math.min(program.emission, program.pool));
        uint128 emitted = 0;
        (, uint32 stages, , , ) = registry.models(model);
        for (uint32 stage = 0; stage < stages && emission > 0; ++stage) {
            (uint16 weightBps, , , ) = registry.stages(model, stage);
            uint128 share = uint128((uint256(emission) * weightBps) / WHOLE_BPS);
            budgets[model][stage].emitted += share;
            emitted += share;
        }
        program.pool -= emitted;
        emit Finalized(model, epoch, proposal.root, emitted);
    }
}
