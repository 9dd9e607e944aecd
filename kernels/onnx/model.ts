/**
 * The part of ONNX's file format that we write, as a protobuf schema: field
 * numbers are those of the public `onnx.proto` (IR version 12). It knows no
 * ops.
 */

import protobuf from "protobufjs";
import type { OnnxAttribute } from "./writer.ts";

/** ONNX's numbers for element types. */
export const ONNX_TYPE = { f32: 1, i32: 6, i64: 7, f64: 11 } as const;

/** ONNX's numbers for kinds of attributes. */
const ATTRIBUTE_TYPE = { float: 1, int: 2, text: 3, ints: 7 } as const;

/** IR version that goes with the operator set below. */
const IR_VERSION = 12;

/** Version of ONNX's own operators that the rows of ops are written for. */
const OPERATOR_SET = 24;

const schema = protobuf.parse(
  `
  syntax = "proto3";
  message Model {
    int64 ir_version = 1;
    string producer_name = 2;
    Graph graph = 7;
    repeated OperatorSet opset_import = 8;
  }
  message OperatorSet { string domain = 1; int64 version = 2; }
  message Graph {
    repeated Node node = 1;
    string name = 2;
    repeated Tensor initializer = 5;
    repeated ValueInfo input = 11;
    repeated ValueInfo output = 12;
  }
  message Node {
    repeated string input = 1;
    repeated string output = 2;
    string name = 3;
    string op_type = 4;
    repeated Attribute attribute = 5;
    string domain = 7;
  }
  message Attribute {
    string name = 1;
    optional float f = 2;
    optional int64 i = 3;
    optional bytes s = 4;
    repeated int64 ints = 8;
    int32 type = 20;
  }
  message Tensor {
    repeated int64 dims = 1;
    int32 data_type = 2;
    string name = 8;
    bytes raw_data = 9;
  }
  message ValueInfo { string name = 1; Type type = 2; }
  message Type { TensorType tensor_type = 1; }
  message TensorType { int32 elem_type = 1; Shape shape = 2; }
  message Shape { repeated Dimension dim = 1; }
  message Dimension { optional int64 dim_value = 1; optional string dim_param = 2; }
`,
  { keepCase: true },
).root.lookupType("Model");

/** A dimension: a size or a symbol. */
export type OnnxDimension = number | string;

/** Name, element type and shape of an input or output of a model. */
export interface OnnxValue {
  readonly name: string;
  readonly type: number;
  readonly shape: readonly OnnxDimension[];
}

/** A constant. */
export interface OnnxConstant {
  readonly name: string;
  readonly type: number;
  readonly shape: readonly number[];
  /** Row-major, little-endian. */
  readonly bytes: Uint8Array;
}

/** One operator. */
export interface OnnxNode {
  readonly operator: string;
  /** `""` is ONNX's own. */
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, OnnxAttribute>>;
}

/** A whole model. Nodes stand after those they read from. */
export interface OnnxModel {
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly constants: readonly OnnxConstant[];
  readonly nodes: readonly OnnxNode[];
}

/** The bytes of a `.onnx` file. */
export function encodeModel(model: OnnxModel): Uint8Array {
  return schema.encode(schema.create({
    ir_version: IR_VERSION,
    producer_name: "murmuration",
    opset_import: [
      { domain: "", version: OPERATOR_SET },
      { domain: "com.microsoft", version: 1 },
    ],
    graph: {
      name: "graph",
      node: model.nodes.map((node, index) => ({
        input: node.inputs,
        output: node.outputs,
        name: `${node.operator}.${index}`,
        op_type: node.operator,
        attribute: Object.entries(node.attributes).map(attributeMessage),
        domain: node.domain,
      })),
      initializer: model.constants.map(({ name, type, shape, bytes }) => ({
        name,
        data_type: type,
        dims: shape,
        raw_data: bytes,
      })),
      input: model.inputs.map(valueMessage),
      output: model.outputs.map(valueMessage),
    },
  })).finish();
}

function attributeMessage([name, attribute]: [string, OnnxAttribute]): Record<string, unknown> {
  if ("int" in attribute) return { name, type: ATTRIBUTE_TYPE.int, i: attribute.int };
  if ("float" in attribute) return { name, type: ATTRIBUTE_TYPE.float, f: attribute.float };
  if ("ints" in attribute) return { name, type: ATTRIBUTE_TYPE.ints, ints: attribute.ints };
  return { name, type: ATTRIBUTE_TYPE.text, s: new TextEncoder().encode(attribute.text) };
}

function valueMessage({ name, type, shape }: OnnxValue): Record<string, unknown> {
  const dim = shape.map((dimension) =>
    typeof dimension === "number" ? { dim_value: dimension } : { dim_param: dimension }
  );
  return { name, type: { tensor_type: { elem_type: type, shape: { dim } } } };
}
