// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Guarded} from "./Guarded.sol";
import {StakeVault} from "./StakeVault.sol";

/// Who holds which stage of which model, and with which key it signs. An operator holds one stage of a
/// model; which one is drawn among the neediest, not chosen. Being registered earns nothing.
contract StageRegistry is Guarded, EIP712 {
    struct Model {
        address owner;
        uint32 stages;
        bool active;
        bytes32 manifestHash;
        bytes32 graphRoot;
    }

    struct Stage {
        /// Its share of the work, in 1/10,000 of the model's.
        uint16 weightBps;
        uint32 maxReplicas;
        uint32 replicas;
        uint128 minStake;
    }

    /// A stage as its model's owner describes it.
    struct StageTerms {
        uint16 weightBps;
        uint32 maxReplicas;
        uint128 minStake;
    }

    struct Host {
        address signer;
        uint32 stage;
        uint64 joinEpoch;
        bool active;
        /// Stake that is locked for this place.
        uint128 locked;
        bytes32 peerIdHash;
    }

    struct Request {
        address signer;
        /// The block that draws.
        uint64 drawBlock;
        bytes32 peerIdHash;
    }

    event ModelCreated(bytes32 indexed model, address indexed owner, bytes32 manifestHash, uint32 stages);
    event ModelActive(bytes32 indexed model, bool active);
    event JoinRequested(bytes32 indexed model, address indexed owner, address signer, uint64 drawBlock);
    event HostAssigned(
        bytes32 indexed model,
        address indexed owner,
        address indexed signer,
        uint32 stage,
        bytes32 peerIdHash
    );
    event SignerRotated(bytes32 indexed model, address indexed owner, address signer, bytes32 peerIdHash);
    event HostLeft(bytes32 indexed model, address indexed owner, uint32 stage);

    error BadStages(uint256 stages, uint256 weightBps);
    error ModelExists(bytes32 model);
    error NotModelOwner(address caller);
    error ModelNotActive(bytes32 model);
    error NoConsent(address signer);
    error SignerTaken(address signer);
    error RequestPending(uint64 drawBlock);
    error NoRequest(address owner);
    error DrawNotReady(uint64 drawBlock);
    error DrawTooLate(uint64 drawBlock);
    error AllStagesFull(bytes32 model);
    error NotHost(address owner);
    error StakeSuffices(address owner);

    uint256 public constant STAGES_MAX = 256;
    uint256 private constant WHOLE_BPS = 10_000;
    /// So many blocks back a block's hash is known.
    uint256 private constant HASHES_KNOWN = 256;
    bytes32 public constant CONSENT_TYPEHASH =
        keccak256("Consent(address owner,bytes32 model,bytes32 peerIdHash)");

    StakeVault public immutable vault;
    uint64 public immutable drawDelayBlocks;
    uint64 public immutable epochSeconds;

    mapping(bytes32 model => Model) public models;
    mapping(bytes32 model => mapping(uint32 stage => Stage)) public stages;
    mapping(bytes32 model => mapping(address owner => Host)) public hosts;
    mapping(bytes32 model => mapping(address owner => Request)) public requests;
    mapping(bytes32 model => mapping(address signer => address owner)) public ownerOfSigner;

    constructor(
        StakeVault vault_,
        address guardian_,
        uint64 drawDelayBlocks_,
        uint64 epochSeconds_
    ) Guarded(guardian_) EIP712("Murmuration StageRegistry", "1") {
        vault = vault_;
        drawDelayBlocks = drawDelayBlocks_;
        epochSeconds = epochSeconds_;
    }

    /// What a model of this owner is called.
    function modelOf(address owner, bytes32 manifestHash) public pure returns (bytes32) {
        return keccak256(abi.encode(owner, manifestHash));
    }

    function createModel(
        bytes32 manifestHash,
        bytes32 graphRoot,
        StageTerms[] calldata terms
    ) external whenNotPaused returns (bytes32 model) {
        model = modelOf(msg.sender, manifestHash);
        if (models[model].owner != address(0)) revert ModelExists(model);
        uint256 weightBps = 0;
        bool bad = terms.length > STAGES_MAX;
        for (uint256 i = 0; i < terms.length && !bad; ++i) {
            StageTerms calldata term = terms[i];
            if (term.weightBps == 0 || term.maxReplicas == 0) bad = true;
            weightBps += term.weightBps;
            stages[model][uint32(i)] = Stage(term.weightBps, term.maxReplicas, 0, term.minStake);
        }
        if (bad || weightBps != WHOLE_BPS) revert BadStages(terms.length, weightBps);
        models[model] = Model(msg.sender, uint32(terms.length), true, manifestHash, graphRoot);
        emit ModelCreated(model, msg.sender, manifestHash, uint32(terms.length));
    }

    /// An inactive model takes no new hosts; those that it has stay as they are.
    function setActive(bytes32 model, bool active) external {
        if (models[model].owner != msg.sender) revert NotModelOwner(msg.sender);
        models[model].active = active;
        emit ModelActive(model, active);
    }

    /// Asks for a stage, or, as a host, for another one. The signer has to agree.
    function requestJoin(
        bytes32 model,
        address signer,
        bytes32 peerIdHash,
        bytes calldata consent
    ) external whenNotPaused {
        if (!models[model].active) revert ModelNotActive(model);
        Request storage request = requests[model][msg.sender];
        // Nobody asks again until it likes what it draws.
        if (request.drawBlock != 0 && block.number <= request.drawBlock + HASHES_KNOWN) {
            revert RequestPending(request.drawBlock);
        }
        _checkSigner(model, signer, peerIdHash, consent);
        uint64 drawBlock = uint64(block.number) + drawDelayBlocks;
        requests[model][msg.sender] = Request(signer, drawBlock, peerIdHash);
        emit JoinRequested(model, msg.sender, signer, drawBlock);
    }

    /// Carries a request out, whoever calls: gives its owner one of the neediest stages and locks its stake.
    function assign(bytes32 model, address owner) external nonReentrant returns (uint32 stage) {
        Request memory request = requests[model][owner];
        if (request.drawBlock == 0) revert NoRequest(owner);
        if (block.number <= request.drawBlock) revert DrawNotReady(request.drawBlock);
        if (block.number > request.drawBlock + HASHES_KNOWN) revert DrawTooLate(request.drawBlock);
        // The signer may have been taken by somebody else in the meantime.
        address taken = ownerOfSigner[model][request.signer];
        if (taken != address(0) && taken != owner) revert SignerTaken(request.signer);
        delete requests[model][owner];
        if (hosts[model][owner].active) _remove(model, owner);
        stage = _draw(model, keccak256(abi.encode(blockhash(request.drawBlock), owner)));
        uint128 minStake = stages[model][stage].minStake;
        stages[model][stage].replicas += 1;
        hosts[model][owner] = Host(
            request.signer,
            stage,
            uint64(block.timestamp) / epochSeconds,
            true,
            minStake,
            request.peerIdHash
        );
        ownerOfSigner[model][request.signer] = owner;
        emit HostAssigned(model, owner, request.signer, stage, request.peerIdHash);
        vault.lock(owner, minStake);
    }

    function rotateSigner(
        bytes32 model,
        address signer,
        bytes32 peerIdHash,
        bytes calldata consent
    ) external {
        Host storage host = _host(model, msg.sender);
        _checkSigner(model, signer, peerIdHash, consent);
        delete ownerOfSigner[model][host.signer];
        host.signer = signer;
        host.peerIdHash = peerIdHash;
        ownerOfSigner[model][signer] = msg.sender;
        emit SignerRotated(model, msg.sender, signer, peerIdHash);
    }

    function resign(bytes32 model) external nonReentrant {
        _host(model, msg.sender);
        _remove(model, msg.sender);
    }

    /// Removes a host whose stake was slashed below what its place asks for, whoever calls.
    function evict(bytes32 model, address owner) external nonReentrant {
        Host storage host = _host(model, owner);
        (uint128 staked, , , ) = vault.accounts(owner);
        if (staked >= host.locked) revert StakeSuffices(owner);
        _remove(model, owner);
    }

    /// Whose signer this is and for which stage; an owner of zero if it is nobody's.
    function hostOfSigner(bytes32 model, address signer) external view returns (address owner, uint32 stage) {
        owner = ownerOfSigner[model][signer];
        stage = hosts[model][owner].stage;
    }

    function _host(bytes32 model, address owner) private view returns (Host storage host) {
        host = hosts[model][owner];
        if (!host.active) revert NotHost(owner);
    }

    function _checkSigner(
        bytes32 model,
        address signer,
        bytes32 peerIdHash,
        bytes calldata consent
    ) private view {
        bytes32 digest =
            _hashTypedDataV4(keccak256(abi.encode(CONSENT_TYPEHASH, msg.sender, model, peerIdHash)));
        (address recovered, , ) = ECDSA.tryRecoverCalldata(digest, consent);
        if (recovered == address(0) || recovered != signer) revert NoConsent(signer);
        address taken = ownerOfSigner[model][signer];
        if (taken != address(0) && taken != msg.sender) revert SignerTaken(signer);
    }

    /// One of those stages that have fewest replicas for their weight and room for another.
    function _draw(bytes32 model, bytes32 beacon) private view returns (uint32) {
        uint32 count = models[model].stages;
        uint256 ties = 0;
        uint256 fewest = 0;
        uint256 weight = 1;
        uint32[] memory neediest = new uint32[](count);
        for (uint32 i = 0; i < count; ++i) {
            Stage storage stage = stages[model][i];
            if (stage.replicas >= stage.maxReplicas) continue;
            uint256 left = stage.replicas * weight;
            uint256 right = fewest * stage.weightBps;
            if (ties > 0 && left > right) continue;
            if (ties == 0 || left < right) {
                ties = 0;
                fewest = stage.replicas;
                weight = stage.weightBps;
            }
            neediest[ties] = i;
            ++ties;
        }
        if (ties == 0) revert AllStagesFull(model);
        return neediest[uint256(beacon) % ties];
    }

    function _remove(bytes32 model, address owner) private {
        Host memory host = hosts[model][owner];
        stages[model][host.stage].replicas -= 1;
        delete ownerOfSigner[model][host.signer];
        delete hosts[model][owner];
        emit HostLeft(model, owner, host.stage);
        vault.unlock(owner, host.locked);
    }
}
